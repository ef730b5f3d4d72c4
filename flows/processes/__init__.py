"""Processes of a command: how they start, stop on signals, and end together."""
