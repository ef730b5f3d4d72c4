"""A trial before a run: a few windows of an image, restored in seconds by several recipes, on one sheet."""
