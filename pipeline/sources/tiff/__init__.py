"""TIFF files in."""
