"""Writing FITS files."""
