"""One wanted version over many machines: the signed record, its waves, and what a machine does about it."""
