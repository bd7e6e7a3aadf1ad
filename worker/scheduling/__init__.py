"""Decides which request runs next: slots, shares and threads."""
