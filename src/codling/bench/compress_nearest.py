"""Rounding to nearest, the plainest of the peers: groups along the input, each with a scale and a zero of 16 bits.

The affine form that most libraries have as their default (MLX, torchao, HQQ before it optimizes). No text is needed.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from codling.bench.peer_result import PeerInput, PeerResult, StoredWeight, dense_projections, with_our_embedding

WIDTHS_BITS = (4, 3)
GROUP_SIZE = 64


def compress_nearest(given: PeerInput) -> Iterator[PeerResult]:
    """One result a width; the embedding is ours (`with_our_embedding`)."""
    weights = dense_projections(given)
    for bits in WIDTHS_BITS:
        stored = {name: round_to_nearest(weight, bits, GROUP_SIZE) for name, weight in weights.items()}
        yield with_our_embedding(f"round to nearest, {bits} bits, groups of {GROUP_SIZE}", given, stored)


def round_to_nearest(weight: Float[np.ndarray, "O I"], width_bits: int, group_size: int) -> StoredWeight:
    """Put 2**width_bits values at equal distances from the least to the greatest weight of each group.

    value = scale * index + zero, with scale and zero rounded to float16 before indices are chosen. The last group of
    a row may be shorter.
    """
    parts, stored_bits = [], 0.0
    for begin in range(0, weight.shape[1], group_size):
        group = weight[:, begin : begin + group_size].astype(np.float32)
        zero = group.min(axis=1, keepdims=True).astype(np.float16).astype(np.float32)
        steps = (1 << width_bits) - 1
        scale = ((group.max(axis=1, keepdims=True) - zero) / steps).astype(np.float16).astype(np.float32)
        indices = np.clip(np.rint((group - zero) / np.where(scale == 0, 1, scale)), 0, steps)
        parts.append(indices * scale + zero)
        stored_bits += group.size * width_bits + len(group) * 2 * 16
    return StoredWeight(np.concatenate(parts, axis=1), stored_bits)
