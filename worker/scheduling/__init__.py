"""Which request has its turn: slots, shares and threads."""
