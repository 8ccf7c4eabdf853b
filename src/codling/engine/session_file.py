"""A session on disk: the tokens that its cache holds, their keys and values, and what these belong to.

A safetensors file. Keys and values are the engine's own pages, byte by byte, so a loaded session goes on as if it had
never ended; whatever they depend on is noted, and must be the same where they are loaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from codling.artifact.tensor_files import StoredTensors, write_tensors
from codling.errors import UserError

FORMAT_KEY: Final = "codling_session"
FORMAT_VERSION: Final = "1"
ORIGIN_PREFIX: Final = "codling_origin_"
ADAPTER_KEY: Final = "codling_adapter"
IDS: Final = "ids"
"""Little-endian int32, as bytes: [tokens, 4]."""
PAGES: Final = "pages"

Origin = Mapping[str, str]
"""What keys and values depend on, by the name that an error calls it by."""


class StoredSession(NamedTuple):
    """What a file holds."""

    ids: Int32[np.ndarray, " T"]
    pages: UInt8[np.ndarray, " B"]
    adapter: str
    """A name of the bundle's own, the directory of another, or `none`."""
    origin: Origin


def write_session(path: Path, stored: StoredSession) -> None:
    """Write a file, or replace the one that is there, in one step."""
    origin = {ORIGIN_PREFIX + name: value for name, value in stored.origin.items()}
    metadata = {FORMAT_KEY: FORMAT_VERSION, ADAPTER_KEY: stored.adapter, **origin}
    ids = stored.ids.astype("<i4").view(np.uint8).reshape(-1, 4)
    partial = path.with_name(path.name + ".partial")
    try:
        write_tensors(partial, {IDS: ids, PAGES: stored.pages}, metadata)
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        partial.unlink(missing_ok=True)


def read_session(path: Path) -> StoredSession:
    """Read a file. Errors: `UserError` for one that is missing, damaged, or no session of this version."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    tensors = StoredTensors([path])
    metadata = tensors.metadata
    if metadata.get(FORMAT_KEY) != FORMAT_VERSION:
        raise UserError(f"{path}: not a session of codling, or one of another version; this one reads {FORMAT_VERSION}")
    specs = {name: (spec.dtype, len(spec.shape), spec.shape[1:]) for name, spec in tensors.specs.items()}
    if specs != {IDS: ("U8", 2, (4,)), PAGES: ("U8", 1, ())} or ADAPTER_KEY not in metadata:
        raise UserError(f"{path}: a damaged session; say the conversation again")
    ids = tensors[IDS].reshape(-1).view("<i4").astype(np.int32)
    origin = {
        key.removeprefix(ORIGIN_PREFIX): value for key, value in metadata.items() if key.startswith(ORIGIN_PREFIX)
    }
    return StoredSession(ids, tensors[PAGES], metadata[ADAPTER_KEY], origin)


def check_origin(path: Path, stored: StoredSession, origin: Origin) -> None:
    """Errors: `UserError` for the first thing that is not what the session was saved with."""
    for name, value in origin.items():
        if stored.origin.get(name) != value:
            raise UserError(
                f"{path}: was saved with another {name}; say the conversation again, or open what it was with"
            )
