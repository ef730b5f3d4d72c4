"""Reading FITS files."""
