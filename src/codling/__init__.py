"""Codling grows a server model and its on-device sibling from one recipe.

Start reading at `codling.recipes` (what is built), then `codling.model` (what is trained) and `codling.train.loop`
(how). `docs/recipe.md` maps the published recipe onto these files.
"""
