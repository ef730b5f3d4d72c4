"""One tile: its window is read, fitted and written to the scratch, then blended with its neighbours."""
