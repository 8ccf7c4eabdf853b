"""What a peer's compression makes of a model: the weights that it stands for, and what they take."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from codling.artifact.bundle import Bundle
from codling.artifact.hf import EMBEDDING_NAME, model_tensors
from codling.compress.embedding_quant import quantize_embedding
from codling.data.loader import Batch
from codling.errors import UserError


class PeerInput(NamedTuple):
    """What every peer is given."""

    bundle: Bundle
    """Dense."""
    batches: Sequence[Batch]
    """The calibration text in rows, the very ones that ours is calibrated by."""
    scratch: Path
    """A directory for large files."""
    llama_tools: Path | None
    """Where llama.cpp's programs are; None: on the PATH."""
    say: Callable[[str], None]


class StoredWeight(NamedTuple):
    """One tensor as it is stored."""

    values: Float32[np.ndarray, "..."]
    """What the stored bits stand for, in the [out, in] layout of Hugging Face."""
    stored_bits: float
    """Scales, tables and padding included."""


class PeerResult(NamedTuple):
    """One setting of one peer."""

    name: str
    weights: dict[str, np.ndarray]
    """All tensors of the model, dense, by their Hugging Face names."""
    bits_per_weight_projections: float
    """Stored bits a weight of the linear layers alone."""
    bits_per_weight_total: float
    """Of everything, embedding and norms included."""


def peer_result(name: str, stored: Mapping[str, StoredWeight]) -> PeerResult:
    """Weights and bits of a whole model."""
    projections = [one for name, one in stored.items() if is_projection(name, one.values)]
    return PeerResult(
        name,
        {name: one.values for name, one in stored.items()},
        _bits_per_weight(projections),
        _bits_per_weight(list(stored.values())),
    )


def with_our_embedding(name: str, given: PeerInput, projections: Mapping[str, StoredWeight]) -> PeerResult:
    """The result of a peer that leaves the embedding to its user: it gets ours (int8), and float32 norms as ours.

    To its advantage: by itself it would store 16 bits.
    """
    tensors = model_tensors(given.bundle.model)
    embedding = quantize_embedding(tensors[EMBEDDING_NAME], name=EMBEDDING_NAME)
    stored = {key: StoredWeight(values, 32.0 * values.size) for key, values in tensors.items()}
    stored[EMBEDDING_NAME] = StoredWeight(
        embedding.dequantize(), 8.0 * (embedding.values.nbytes + embedding.scales.nbytes)
    )
    return peer_result(name, {**stored, **projections})


def dense_projections(given: PeerInput) -> dict[str, np.ndarray]:
    """The linear layers' weights, by name."""
    tensors = model_tensors(given.bundle.model)
    return {name: values for name, values in tensors.items() if is_projection(name, values)}


def is_projection(name: str, values: np.ndarray) -> bool:
    """Whether a tensor is a linear layer's, and not the embedding or a norm."""
    return values.ndim == 2 and name != EMBEDDING_NAME


def require_packages(peer: str, packages: Sequence[str], command: str) -> None:
    """Errors: `UserError` naming the packages that are missing, and the command that installs them."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the peer {peer} needs {' and '.join(missing)}: {command}")


def _bits_per_weight(stored: Sequence[StoredWeight]) -> float:
    return sum(one.stored_bits for one in stored) / sum(one.values.size for one in stored)
