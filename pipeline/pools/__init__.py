"""Where tiles are restored: on this machine one after the other, or on the workers of a Dask cluster."""
