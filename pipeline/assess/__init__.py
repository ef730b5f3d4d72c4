"""A result compared with a reference."""
