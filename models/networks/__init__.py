"""Prior networks: untrained, fitted to one tile and then discarded."""
