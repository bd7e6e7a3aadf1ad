"""From the bytes of an audio file to samples."""
