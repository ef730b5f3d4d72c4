"""The result on disk: an OME-Zarr image, its pyramid, and the lock that keeps other runs away."""
