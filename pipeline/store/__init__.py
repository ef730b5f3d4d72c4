"""The result on disk."""
