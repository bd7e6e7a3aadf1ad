"""Transcription jobs as the daemon sees them: what there is of them, which are over, and who is told of their end."""
