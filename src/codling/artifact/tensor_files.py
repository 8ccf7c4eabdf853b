"""Safetensors files, one tensor at a time: read when it is asked for, written as it comes.

So a model of any size passes through the memory of its largest tensor. The layout is that of the safetensors library
(https://github.com/huggingface/safetensors): wide types first, then by name, without gaps; with it, the same tensors
give the same bytes, in whatever order they are handed over.

Dropped: the library's own writer. It wants all tensors at once, and orders the metadata by chance.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from codling.errors import UserError

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "F32": np.dtype(np.float32),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
}
"""What codling writes, by the names in a file's header, in the order in which the file holds them."""
HEADER_ALIGNMENT_BYTES: Final = 8


class TensorSpec(NamedTuple):
    """What a header says of a tensor."""

    dtype: str
    """As safetensors names it: F32, BF16, ..."""
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, of a type that codling writes."""
        return self.size * DTYPES[self.dtype].itemsize


@final
class StoredTensors(Mapping[str, np.ndarray]):
    """The tensors of one file or of several, by name. Each look-up reads the tensor from disk, and keeps nothing."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open the files; only their headers are read.

        Errors: `UserError` for a file that is missing, truncated or not safetensors, and for a tensor in two files.
        """
        self._files: dict[str, Any] = {}
        self._metadata: dict[str, str] = {}
        for path in paths:
            if not path.is_file():
                raise UserError(f"{path}: no such file; the bundle is not complete")
            try:
                file: Any = safe_open(path, framework="numpy")
            except (SafetensorError, ValueError) as error:
                raise UserError(f"{path}: not readable as safetensors, perhaps truncated ({error})") from None
            for name in file.keys():  # noqa: SIM118  it is no mapping
                if name in self._files:
                    raise UserError(f"{path}: tensor '{name}' is in another of the files too")
                self._files[name] = file
            self._metadata |= file.metadata() or {}

    @property
    def metadata(self) -> dict[str, str]:
        """The headers' `__metadata__`."""
        return dict(self._metadata)

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """Type and shape of each, without reading it."""
        slices = {name: file.get_slice(name) for name, file in self._files.items()}
        return {name: TensorSpec(part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        tensor: np.ndarray = self._files[name].get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all tensors and the metadata. Errors: as for `StoredTensors`."""
    stored = StoredTensors([path])
    return dict(stored), stored.metadata


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write tensors that are in memory."""
    specs = {name: spec_of(tensor) for name, tensor in tensors.items()}
    stream_tensors(path, specs, tensors.__getitem__, metadata)


def spec_of(tensor: np.ndarray) -> TensorSpec:
    """What a header is to say of a tensor in memory."""
    return TensorSpec(next(name for name, dtype in DTYPES.items() if dtype == tensor.dtype), tensor.shape)


def stream_tensors(
    path: Path, specs: Mapping[str, TensorSpec], read: Callable[[str], np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write the tensors that `specs` announces; `read` gives each by its name when its turn comes."""
    order = list(DTYPES)
    names = sorted(specs, key=lambda name: (order.index(specs[name].dtype), name))
    header: dict[str, Any] = {"__metadata__": dict(sorted({"format": "pt", **metadata}.items()))}
    begin = 0
    for name in names:
        end = begin + specs[name].size_bytes
        header[name] = {"dtype": specs[name].dtype, "shape": list(specs[name].shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // HEADER_ALIGNMENT_BYTES) * HEADER_ALIGNMENT_BYTES)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            tensor = read(name)
            assert (tensor.dtype, tensor.shape) == (DTYPES[specs[name].dtype], specs[name].shape)
            # As bytes: Python's buffers do not know bfloat16.
            file.write(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
