"""FITS files in."""
