"""Rewards that are checked and not judged: an answer, and what must hold of it."""
