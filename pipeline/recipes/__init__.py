"""Recipes: the settings of a restoration, read from YAML and checked."""
