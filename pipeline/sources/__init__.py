"""Image files in: one opened image, whatever its format."""
