"""llama.cpp's files of the shape that the engine is measured on: one a type of weights, made once and kept."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from codling.artifact.gguf_file import gguf_package, write_gguf
from codling.artifact.outputs import new_file
from codling.bench.engine_llama import check_types, quantize_file
from codling.bench.engine_models import RandomWeights, random_tokenizer
from codling.model.config import ModelConfig

DENSE_TYPE = "F16"
"""What the others are made of."""


def llama_files(
    directory: Path, name: str, shape: ModelConfig, types: Sequence[str], num_threads: int, say: Callable[[str], None]
) -> dict[str, Path]:
    """A file of random weights for every type, as `directory/name-TYPE.gguf`.

    Errors: `UserError` where llama-cpp-python or `gguf` are missing, and for types that llama.cpp does not have.
    """
    check_types(types)
    files = {type_name: directory / f"{name}-{type_name}.gguf" for type_name in types}
    dense = directory / f"{name}-{DENSE_TYPE}.gguf"
    missing = {type_name: path for type_name, path in files.items() if not path.exists()}
    if missing and not dense.exists():
        gguf_package()
        say(f"making {dense}: random weights, once")
        write_gguf(dense, name, shape, random_tokenizer(shape.vocab_size), RandomWeights(shape), DENSE_TYPE.lower())
    for type_name, path in missing.items():
        if path != dense:
            say(f"making {path}")
            with new_file(path) as partial:
                quantize_file(dense, partial, type_name, num_threads)
    if missing and DENSE_TYPE not in files:
        dense.unlink()
    return files


def forget_pages(path: Path) -> None:
    """Drop what the system keeps of a file in memory, where it can.

    A reader then gets it from the disk, as after a restart, and in pages of its own size, not the writer's.
    """
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
