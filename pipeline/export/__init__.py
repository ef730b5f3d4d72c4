"""Export of a result to FITS and TIFF files that any program reads, with the input's header or tags."""
