//! What to say and what to do: sentences and commands that work as printed.
