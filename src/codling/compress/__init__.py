"""Palettized weights, the int8 embedding, and the bytes in which both are kept."""
