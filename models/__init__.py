"""The mathematics of one restoration: torch and numpy only."""
