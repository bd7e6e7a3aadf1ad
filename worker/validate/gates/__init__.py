"""The checks that a version passes, a file each."""
