"""What compression can be told to do; apart from the rest, so that a command line is read without it."""

from enum import StrEnum


class SensitivityMethod(StrEnum):
    """How it is found what a width of a matrix costs."""

    ESTIMATED = "estimated"
    """From the importance of its outputs, to second order."""
    MEASURED = "measured"
    """By running the model with it (`measured_sensitivity` has the price)."""


class Rotation(StrEnum):
    """What is rotated before it is palettized (`rotate_blocks`)."""

    VALUES = "values"
    """The values of each head."""
    RESIDUAL = "residual"
    """The residual stream."""
