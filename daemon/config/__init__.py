"""The configuration: its tables, what is wrong with one, and what a change of it needs."""
