"""Measurements of codling next to its peers, both sides in one run."""
