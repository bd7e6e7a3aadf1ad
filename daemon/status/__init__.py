"""What the daemon knows at one moment, and what is read from that alone."""
