"""Processes that end together, and signals."""
