"""The noise model of an image, and its estimation from the image alone."""
