"""Pixels that are not of the scene."""
