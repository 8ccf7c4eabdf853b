"""What a compression that was stopped had done: its first passes as one file, and every block that was palettized.

    first_passes.npz      what errors of each output cost, and what each width of each matrix costs
    block_00012.safetensors   the palettized matrices of a block

Each file is whole or not there.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.compress.palettize import PalettizedMatrix
from codling.compress.tensors import Compressed, compressed_names, from_tensors, to_metadata, to_tensors

FIRST_PASSES_FILE = "first_passes.npz"
IMPORTANCE, NATS, SHAPE = "importance", "nats", "shape"


class FirstPasses(NamedTuple):
    """What is known before the first matrix is palettized, by tensor name."""

    shapes: dict[str, tuple[int, int]]
    importance: dict[str, Float[np.ndarray, " O"]]
    """What the square of an error of each output costs."""
    nats: dict[str, dict[int, float]]
    """What each width costs, in nats a token."""


class KeptWork:
    """The files in a directory, if there is one; without one nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def first_passes(self, compute: Callable[[], FirstPasses]) -> FirstPasses:
        """What was kept of them; else computed, and kept."""
        path = self._path(FIRST_PASSES_FILE)
        if path is None:
            return compute()
        if not path.exists():
            found = compute()
            _write_whole(path, lambda partial: _save(partial, found))
        # Read back either way: whoever goes on computes with the very numbers of whoever never stopped.
        return _load(path)

    def block(
        self, layer: int, compute: Callable[[], Mapping[str, PalettizedMatrix]]
    ) -> Mapping[str, PalettizedMatrix]:
        """The matrices of a block as they were kept; else computed, and kept."""
        path = self._path(f"block_{layer:05}.safetensors")
        if path is None:
            return compute()
        if not path.exists():
            made: dict[str, Compressed] = dict(compute())
            tensors = {part: array for name, one in made.items() for part, array in to_tensors(name, one).items()}
            _write_whole(path, lambda partial: write_tensors(partial, tensors, to_metadata(made)))
        stored, metadata = read_tensors(path)
        read = {name: from_tensors(name, stored, metadata) for name in compressed_names(metadata)}
        return {name: matrix for name, matrix in read.items() if isinstance(matrix, PalettizedMatrix)}

    def _path(self, name: str) -> Path | None:
        if self._directory is None:
            return None
        self._directory.mkdir(parents=True, exist_ok=True)
        return self._directory / name


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    partial = path.with_name(f"partial-{path.name}")
    write(partial)
    partial.rename(path)


def _save(path: Path, found: FirstPasses) -> None:
    arrays: dict[str, np.ndarray] = {}
    for name, shape in found.shapes.items():
        arrays[f"{SHAPE}/{name}"] = np.asarray(shape, np.int64)
        arrays[f"{IMPORTANCE}/{name}"] = found.importance[name]
        for width, cost in found.nats[name].items():
            arrays[f"{NATS}/{width}/{name}"] = np.asarray(cost, np.float64)
    with path.open("wb") as file:
        # Names of arrays are taken for the function's own options.
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _load(path: Path) -> FirstPasses:
    found = FirstPasses({}, {}, {})
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays:
            kind, _, name = key.partition("/")
            if kind == SHAPE:
                out_dim, in_dim = arrays[key].tolist()
                found.shapes[name] = (out_dim, in_dim)
            elif kind == IMPORTANCE:
                found.importance[name] = arrays[key]
            else:
                width, _, name = name.partition("/")
                found.nats.setdefault(name, {})[int(width)] = float(arrays[key])
    return found
