"""The donor of an image: one network, fitted to windows all over it, from whose weights the tiles start."""
