"""The models in memory, and what is done with one clip or one tensor."""
