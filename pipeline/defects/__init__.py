"""Detection of wild pixels, dead pixels, cosmic rays, dust and scratches."""
