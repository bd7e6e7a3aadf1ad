"""How log files are rotated, compressed, kept and shown."""
