"""Talking to a bundle: one sequence and its cache, a conversation, and the terminal."""
