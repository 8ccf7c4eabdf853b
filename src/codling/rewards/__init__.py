"""Rewards that a program can verify: how an answer is judged is plain data, a check, and gives a score in [0, 1]."""
