"""Prior networks: untrained, fitted to one tile, thrown away."""
