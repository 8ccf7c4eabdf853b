"""The compiled module; `native/bindings/` is its source."""

from collections.abc import Sequence

import numpy as np

class Model:
    """Mapped weights, a set of kernels, threads."""

    def __init__(self, config: str, weights: str, num_threads: int, kernels: str, rounds_activations: bool) -> None: ...
    def run(self, segments: Sequence[Segment]) -> np.ndarray:
        """Logits after the last tokens of each segment, [sum of num_logits, vocab_size]; other threads run on."""
    @property
    def kernels(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def context_length_tokens(self) -> int: ...

class KvCache:
    """Keys and values of one sequence."""

    def __init__(self, model: Model) -> None: ...

class Adapter:
    """A mapped adapter."""

    def __init__(self, model: Model, path: str, rank: int) -> None: ...

class Segment:
    """The next tokens of one sequence, after the first num_kept that its cache holds.

    num_logits: of how many of them, the last ones, the logits after are wanted.
    """

    def __init__(
        self, cache: KvCache, num_kept: int, tokens: Sequence[int], adapter: Adapter | None, num_logits: int = 1
    ) -> None: ...

def runnable_kernels() -> list[str]:
    """Sets of kernels that this processor runs, slowest first."""

def sum_memory(values: np.ndarray, num_threads: int, num_passes: int) -> int:
    """The sum of 64-bit numbers, modulo 2^64, read so many times: as fast as memory can be read."""

def multiply_palettized(
    kernels: str,
    indices: np.ndarray,
    tables: np.ndarray,
    scales: np.ndarray,
    row_scales: np.ndarray | None,
    num_rows: int,
    rows_per_table: int,
    x: np.ndarray,
    rounds: bool,
) -> np.ndarray: ...
def multiply_dense(
    kernels: str,
    values: np.ndarray,
    type: str,
    row_scales: np.ndarray | None,
    x: np.ndarray,
    rounds: bool,
    start: float | None,
) -> np.ndarray: ...
def rms_norm(kernels: str, x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray: ...
def swiglu(kernels: str, gate: np.ndarray, up: np.ndarray) -> np.ndarray: ...
def rotate(kernels: str, heads: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> np.ndarray: ...
