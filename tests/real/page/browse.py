"""Looks at a page as a reader would: `browse.py CHROMIUM PAGE AXE SHOTS`, prints what it saw as JSON."""

import json
import pathlib
import sys

from playwright.sync_api import sync_playwright

chromium, page_file, axe, shots = sys.argv[1:]
url = pathlib.Path(page_file).resolve().as_uri()
seen = {}
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    for mode in ("light", "dark"):
        requests, complaints = [], []
        # Scripts are for the test alone: the page's own policy forbids them all.
        context = browser.new_context(
            color_scheme=mode, viewport={"width": 1280, "height": 900}, bypass_csp=True
        )
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.screenshot(path=f"{shots}/report-{mode}.png", full_page=True)
        page.keyboard.press("Tab")
        skip = page.evaluate("document.activeElement.getAttribute('href')")
        story = page.locator("details.story:not([open]) > summary").first
        story.focus()
        page.keyboard.press("Enter")
        opened = page.evaluate("document.activeElement.parentElement.open")
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        page.add_script_tag(path=axe)
        found = page.evaluate("axe.run()")
        violations = [
            [one["id"], [node["html"][:200] for node in one["nodes"][:3]]]
            for one in found["violations"]
        ]
        overflow = []
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                overflow.append([width, wide])
            page.screenshot(path=f"{shots}/report-{mode}-{width}.png", full_page=True)
        seen[mode] = {
            "requests": [one for one in requests if one != url],
            "complaints": complaints,
            "violations": violations,
            "overflow": overflow,
            "skip": skip,
            "opened": opened,
            "charts": page.locator("svg.chart").count(),
            "named_charts": page.locator("svg.chart[role=img][aria-label]").count(),
            "paper": page.evaluate(
                "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)"
                ".reduce((sum, one) => sum + Number(one), 0) / 3"
            ),
        }
        if mode == "light":
            page.pdf(path=f"{shots}/report.pdf", format="A4")
        context.close()
    browser.close()
print(json.dumps(seen))
