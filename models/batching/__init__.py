"""Many fits on one device."""
