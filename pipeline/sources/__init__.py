"""Reading image files: the opened image is the same `Source` whatever its format."""
