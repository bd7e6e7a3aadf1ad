"""The configuration: its tables, their checks, and what a change of it needs."""
