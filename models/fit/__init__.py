"""One fit: a prior network fitted to one window."""
