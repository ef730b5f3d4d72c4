"""What lies beside an image: found by name, checked, and judged by the image itself."""
