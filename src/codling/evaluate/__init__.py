"""Measuring: nothing here trains."""
