"""Quantize the shared embedding to int8, one scale per vocabulary row.

Where in the recipe: beside palettization (arXiv 2407.21075 section 5: the shared embedding is int8 per
channel). The report does not say which axis is the channel. Here it is the vocabulary row: as the output
matrix a row makes one logit, which is what "per channel" means for a linear layer, and as the input
embedding a row is looked up with its scale. Symmetric, without a zero point, so that both uses stay a plain
integer product.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int8

from codling.compress.kmeans import require_finite
from codling.errors import UserError

_LARGEST = 127  # -128 is never written: kernels may negate


class QuantizedEmbedding(NamedTuple):
    """An int8 embedding as it lies in a file; `native/FORMAT.md` specifies the bytes."""

    values: Int8[np.ndarray, "V D"]
    scales: Float32[np.ndarray, "V"]

    def dequantize(self) -> Float32[np.ndarray, "V D"]:
        """The embedding that the bytes stand for."""
        embedding: np.ndarray = self.values.astype(np.float32) * self.scales[:, None]
        return embedding

    def bits_per_weight(self) -> float:
        """Stored bits, scales included."""
        return 8 * (self.values.nbytes + self.scales.nbytes) / self.values.size


def quantize_embedding(embedding: Float[np.ndarray, "V D"], *, name: str = "embedding") -> QuantizedEmbedding:
    """Round each row to whole multiples of its scale, so that no value moves by more than half a scale.

    Errors: `UserError` naming `name`: NaN or infinite values, or none at all.
    """
    if embedding.size == 0:
        raise UserError(f"{name}: there is nothing to quantize, its shape is {embedding.shape}")
    embedding = np.asarray(embedding, dtype=np.float32)
    require_finite(embedding, name)
    # A row of zeros gets a scale too: no reader need guard a division.
    largest = np.maximum(np.abs(embedding).max(axis=1), np.finfo(np.float32).tiny * _LARGEST)
    scales = largest / np.float32(_LARGEST)
    values = np.clip(np.rint(embedding / scales[:, None]), -_LARGEST, _LARGEST).astype(np.int8)
    return QuantizedEmbedding(values, scales)
