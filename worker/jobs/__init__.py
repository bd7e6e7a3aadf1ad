"""Transcription jobs of a worker: taking them in, working on them piece by piece, ending them."""
