"""Writing TIFF files."""
