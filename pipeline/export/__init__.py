"""A result written as FITS or TIFF."""
