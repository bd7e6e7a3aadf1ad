"""Takes from the processes of a worker the rights that they do not need."""
