"""What a file says of its pixels: EXIF, the size of a pixel, the unit of its values."""
