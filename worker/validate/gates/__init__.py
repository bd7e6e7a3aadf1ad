"""The checks that a version passes, one file each."""
