"""Transcription jobs of a worker: accepts them, works on them piece by piece, ends them."""
