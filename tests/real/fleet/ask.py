"""Asks every question of docs/fleet.md: `ask.py duckdb|spark PAGE`, in the directory of `fleet`.

Prints one line of JSON: a list of [query, [row, ...]], each row an object.
"""

import json
import re
import sys
from contextlib import redirect_stdout
from decimal import Decimal

engine, page = sys.argv[1:]
text = open(page, encoding="utf-8").read()
python = [code for code in re.findall(r"```python\n(.*?)```", text, re.S) if engine in code]
questions = re.findall(r"```sql\n(.*?)```", text, re.S)
assert len(python) == 1, f"{len(python)} blocks of Python for {engine}"
assert questions, "no question"


def plain(value):
    return float(value) if isinstance(value, Decimal) else value


scope = {}
with redirect_stdout(sys.stderr):
    exec(python[0], scope)
answers = []
for question in questions:
    if engine == "duckdb":
        told = scope["db"].execute(question)
        names = [column[0] for column in told.description]
        rows = [dict(zip(names, row)) for row in told.fetchall()]
    else:
        rows = [row.asDict() for row in scope["spark"].sql(question).collect()]
    rows = [{name: plain(value) for name, value in row.items()} for row in rows]
    answers.append([question, rows])
print(json.dumps(answers))
