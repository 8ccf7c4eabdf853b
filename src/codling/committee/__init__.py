"""The iterative teaching committee (iTeC): rounds in which the best models so far teach the next ones."""
