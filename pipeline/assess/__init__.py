"""Comparison of a result with a reference image of the same scene."""
