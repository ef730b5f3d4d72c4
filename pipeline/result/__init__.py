"""A result opened as arrays: of Zarr, numpy and dask, and as astropy's NDData and CCDData."""
