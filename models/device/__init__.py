"""The device of a fit: precision, threads, determinism, and how fast it is."""
