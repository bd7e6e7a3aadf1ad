"""What the processes of a worker may not do, and how that is taken from them."""
