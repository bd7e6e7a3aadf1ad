"""Which files go from the disk classes, and the child process that removes them."""
