"""Images in buckets: their copies on this machine, and results on their way back."""
