"""Reading TIFF files."""
