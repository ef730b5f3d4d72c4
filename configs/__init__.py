"""Recipes shipped with the package; `glassplate.pipeline.recipe` reads them."""
