"""Transcription jobs in the daemon: how many there are, which are over, and which callbacks are due."""
