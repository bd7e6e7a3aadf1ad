"""What acts: each controller does its part of a round, and none calls another."""
