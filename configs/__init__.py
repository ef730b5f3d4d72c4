"""Recipes shipped with the package; `glassplate.pipeline.recipes.recipe` reads them."""
