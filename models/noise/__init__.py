"""The noise model and its estimation from the image alone."""
