"""The compiled module; `native/bindings/` is its source."""

import enum
from collections.abc import Callable, Sequence

import numpy as np

class Model:
    """Mapped weights, a set of kernels, threads, memory for keys and values.

    kv_type: int8, bf16 or f32. kv_limit_bytes: of the keys and values of all sequences; 0 for no limit.
    """

    def __init__(
        self,
        config: str,
        weights: str,
        num_threads: int,
        kernels: str,
        rounds_activations: bool,
        kv_type: str = "int8",
        kv_limit_bytes: int = 0,
    ) -> None: ...
    def run(self, segments: Sequence[Segment]) -> np.ndarray:
        """Logits after the last tokens of each segment, [sum of num_logits, vocab_size]; other threads run on."""
    @property
    def kernels(self) -> str: ...
    @property
    def kv_layout(self) -> str:
        """What must be equal for pages of keys and values to be exchanged, in words."""
    @property
    def kv_page_bytes(self) -> int: ...
    @property
    def num_kv_pages(self) -> int:
        """Pages in use."""
    @property
    def vocab_size(self) -> int: ...
    @property
    def context_length_tokens(self) -> int: ...

class KvCache:
    """Keys and values of one sequence."""

    def __init__(self, model: Model) -> None: ...
    @property
    def num_tokens(self) -> int: ...
    def export_pages(self) -> np.ndarray:
        """The bytes of all its pages, one after the other."""
    def import_pages(self, pages: np.ndarray, num_tokens: int) -> None:
        """Forget everything, and begin with what another cache exported whose model has the same kv_layout."""

class PrefixCache:
    """Keys and values of prompts that were run before, in whole pages. A model has one; limit_bytes 0: off."""

    def __init__(self, model: Model, limit_bytes: int) -> None: ...
    def find(self, cache: KvCache, adapter: str, tokens: Sequence[int]) -> int:
        """Let the cache begin with what is known of these tokens; their number."""
    def insert(self, cache: KvCache, adapter: str, tokens: Sequence[int]) -> None:
        """Keep the full pages of the cache, which holds these tokens."""
    @property
    def num_asked_tokens(self) -> int: ...
    @property
    def num_found_tokens(self) -> int: ...
    @property
    def num_pages(self) -> int: ...
    @property
    def num_evicted_pages(self) -> int: ...

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

class Sampling:
    """What tokens are drawn by."""

    def __init__(
        self,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repetition_penalty: float,
        seed: int,
        num_logprobs: int,
    ) -> None: ...

class Draw:
    """A drawn token."""

    @property
    def token(self) -> int: ...
    @property
    def logprob(self) -> float: ...
    @property
    def best(self) -> list[tuple[int, float]]: ...

class Finish(enum.Enum):
    """How a request ended."""

    NONE = ...
    STOP = ...
    LENGTH = ...
    CONTEXT = ...
    CANCELLED = ...
    FAILED = ...

class Speculation(enum.Enum):
    """Who proposes tokens."""

    NONE = ...
    LOOKUP = ...
    DRAFT = ...

class CachedSequence:
    """What a session keeps: a cache, and which tokens it holds."""

    def __init__(self, model: Model, adapter: Adapter | None, adapter_name: str) -> None: ...
    def ids(self) -> np.ndarray:
        """The tokens that it holds."""
    def export_pages(self) -> np.ndarray:
        """The bytes of their keys and values."""
    def restore(self, model: Model, ids: np.ndarray, pages: np.ndarray) -> None:
        """Begin with what another one exported whose model has the same kv_layout."""

class DraftModel:
    """A model that proposes tokens."""

    def __init__(self, model: Model, adapter: Adapter | None) -> None: ...

class Request:
    """What a reader asked for; the methods of the scheduler take it."""

class RequestUsage:
    """What a request took."""

    @property
    def num_cached(self) -> int: ...
    @property
    def num_proposed(self) -> int: ...
    @property
    def num_accepted(self) -> int: ...

class Scheduler:
    """Runs the requests of all sessions together, in the threads of those who wait."""

    def __init__(
        self, model: Model, draft: DraftModel | None, prefixes: PrefixCache | None, tokens_per_step: int
    ) -> None: ...
    def add(
        self,
        sequence: CachedSequence,
        prompt: Sequence[int],
        sampling: Sampling,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        speculation: Speculation,
        mask: Callable[[np.ndarray], np.ndarray | None] | None,
        num_dropped: int,
    ) -> Request: ...
    def check_fits(self, num_tokens: int) -> None: ...
    def is_ready(self, request: Request) -> bool:
        """Whether `take` gives something, or the end."""
    def wait(self, request: Request) -> None:
        """Until it is ready. Other threads run meanwhile."""
    def take(self, request: Request) -> tuple[list[Draw], Finish]:
        """What came since the last time; raises the error that ended the request."""
    def usage(self, request: Request) -> RequestUsage: ...
    def cancel(self, request: Request) -> None: ...
    def settle(self, sequence: CachedSequence) -> None:
        """Wait until nothing runs on it."""
    def close(self) -> None: ...

def draw(
    logits: np.ndarray, position: int, sampling: Sampling, seen: Sequence[int], mask: np.ndarray | None
) -> Draw: ...
def noise(seed: int, position: int, token: int) -> tuple[float, float]:
    """The noise of a token, and the bound that it is skipped by."""

def look_up(tokens: Sequence[int], count: int) -> list[int]:
    """What prompt look-up proposes."""

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
def attend(
    kernels: str,
    kv_type: str,
    head_dim: int,
    queries: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    num_threads: int,
) -> np.ndarray: ...
