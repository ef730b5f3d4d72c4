"""Each tile: read, fitted, written; then all of them blended."""
