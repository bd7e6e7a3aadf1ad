"""Fuzzing of everything that reads what others wrote: files, messages, requests, answers.

The promise is the same everywhere: a value within its stated bounds, or the reader's own error; nothing else is raised,
nothing hangs, nothing grows. Inputs are mostly valid ones, changed a little: what is damaged everywhere is refused at
the door and tries nothing. `make fuzz MINUTES=15` runs it all with other inputs each time; `make test` runs a few of
them, always the same.
"""
