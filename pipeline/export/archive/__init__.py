"""Exports for archives: bags, and what a restoration did as a PREMIS event."""
