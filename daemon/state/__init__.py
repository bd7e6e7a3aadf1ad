"""What outlives the daemon: history, verdicts and facts in one SQLite file."""
