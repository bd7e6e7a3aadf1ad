"""The models in memory, and how they run on one clip or one tensor."""
