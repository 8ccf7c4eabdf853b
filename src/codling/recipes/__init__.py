"""Recipes: which stages, on what, in which order; and the command that runs them."""
