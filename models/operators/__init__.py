"""Forward operators from an estimate to its measurement, and what a JPEG tells about its original."""
