"""`make image`: the image as people build and run it."""
