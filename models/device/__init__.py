"""What a device is, and how fast."""
