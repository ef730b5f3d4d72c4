"""From the average of a fit to the answer."""
