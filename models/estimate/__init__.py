"""From a fit's average to the restoration: the measurement given back, holes, faint sources, uncertainty."""
