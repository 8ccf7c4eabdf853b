"""A table of ways to compress a model, made up."""

from codling.bench.compress import CompressFigure
from codling.evaluate.divergence import Divergence


def figure(name: str, bits: float, nats: float) -> CompressFigure:
    return CompressFigure(name, bits, bits + 1, 0.0, Divergence(20.0, nats, 3 * nats, 0.9, 100))


FIGURES = [
    figure("uncompressed", 32.0, 0.0),
    figure("llama.cpp Q4_0", 4.5, 0.02),
    figure("codling 4", 4.0, 0.01),
    figure("codling 3", 3.0, 0.03),
    figure("codling 4 + recovery", 4.0, 0.004),
    figure("codling 3 + recovery", 3.0, 0.01),
    figure("codling 3, no row scales", 3.0, 0.04),
]
