"""Name the parts of compressed matrices for a safetensors file, and put them together again.

A palettized matrix `NAME` is stored as three tensors, or four where rows have scales, an int8 embedding as two; what
the tensors do not say by themselves (shape without padding, bits, rows per table) is JSON in the header's
`__metadata__`.
`native/FORMAT.md` is the specification. Everything is checked on reading: the bytes may come from anywhere.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from codling.compress.embedding_quant import QuantizedEmbedding
from codling.compress.pack_bits import ROWS_PER_BLOCK, WIDTHS_BITS, packed_shape
from codling.compress.palettize import PalettizedMatrix
from codling.errors import UserError

FORMAT_VERSION = "2"
READ_VERSIONS = ("1", "2")
"""The first has no scales of rows."""
VERSION_KEY = "codling.format_version"
PALETTIZED_KEY = "codling.palettized"
INT8_KEY = "codling.int8_rows"

INDICES_SUFFIX = ".palette_indices"
TABLES_SUFFIX = ".palette_tables"
SCALES_SUFFIX = ".palette_scales"
ROW_SCALES_SUFFIX = ".palette_row_scales"
INT8_VALUES_SUFFIX = ".int8_values"
INT8_SCALES_SUFFIX = ".int8_scales"

Compressed = PalettizedMatrix | QuantizedEmbedding


def to_tensors(name: str, compressed: Compressed) -> dict[str, np.ndarray]:
    """The tensors to store for one matrix, by their names in the file."""
    if isinstance(compressed, QuantizedEmbedding):
        return {name + INT8_VALUES_SUFFIX: compressed.values, name + INT8_SCALES_SUFFIX: compressed.scales}
    of_rows = {} if compressed.row_scales is None else {name + ROW_SCALES_SUFFIX: compressed.row_scales}
    return {
        name + INDICES_SUFFIX: compressed.indices,
        name + TABLES_SUFFIX: compressed.tables,
        name + SCALES_SUFFIX: compressed.scales,
        **of_rows,
    }


def to_metadata(compressed: Mapping[str, Compressed]) -> dict[str, str]:
    """The entries of the header's `__metadata__` for all compressed matrices of a file."""
    palettized = {
        name: {
            "shape": list(matrix.shape),
            "bits": matrix.bits,
            "rows_per_table": matrix.rows_per_table,
            "row_scales": matrix.row_scales is not None,
        }
        for name, matrix in compressed.items()
        if isinstance(matrix, PalettizedMatrix)
    }
    int8_rows = {
        name: {"shape": list(matrix.values.shape)}
        for name, matrix in compressed.items()
        if isinstance(matrix, QuantizedEmbedding)
    }
    return {
        VERSION_KEY: FORMAT_VERSION,
        PALETTIZED_KEY: json.dumps(palettized, sort_keys=True),
        INT8_KEY: json.dumps(int8_rows, sort_keys=True),
    }


def compressed_names(metadata: Mapping[str, str]) -> list[str]:
    """Names of the compressed matrices that a file's metadata lists; none for a file without any."""
    if VERSION_KEY not in metadata:
        return []
    return sorted([*_listed(metadata, PALETTIZED_KEY), *_listed(metadata, INT8_KEY)])


def part_names(metadata: Mapping[str, str]) -> set[str]:
    """Names of the tensors that the compressed matrices of a file are stored as."""
    if VERSION_KEY not in metadata:
        return set()
    parts = set()
    for name, entry in _listed(metadata, PALETTIZED_KEY).items():
        of_rows = (ROW_SCALES_SUFFIX,) if _has_row_scales(name, entry, metadata) else ()
        parts |= {name + suffix for suffix in (INDICES_SUFFIX, TABLES_SUFFIX, SCALES_SUFFIX, *of_rows)}
    return parts | {
        name + suffix for name in _listed(metadata, INT8_KEY) for suffix in (INT8_VALUES_SUFFIX, INT8_SCALES_SUFFIX)
    }


def from_tensors(name: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Compressed:
    """Put one matrix together from the tensors and the metadata of a file.

    Errors: `UserError` naming the tensor that is missing, of another type or shape, or not what the
            metadata says.
    """
    palettized = _listed(metadata, PALETTIZED_KEY)
    if name in palettized:
        return _read_palettized(name, tensors, palettized[name], metadata)
    int8_rows = _listed(metadata, INT8_KEY)
    if name not in int8_rows:
        raise UserError(f"{name}: the file's metadata lists no compressed matrix of this name")
    shape = _read_shape(name, int8_rows[name])
    values = _part(name + INT8_VALUES_SUFFIX, tensors, np.int8, shape)
    scales = _part(name + INT8_SCALES_SUFFIX, tensors, np.float32, shape[:1])
    _check_scales(name + INT8_SCALES_SUFFIX, scales)
    return QuantizedEmbedding(values, scales)


def _read_palettized(
    name: str, tensors: Mapping[str, np.ndarray], entry: Any, metadata: Mapping[str, str]
) -> PalettizedMatrix:
    shape = _read_shape(name, entry)
    bits, rows_per_table = entry.get("bits"), entry.get("rows_per_table")
    if bits not in WIDTHS_BITS:
        raise UserError(f"{name}: bits is {bits!r} in the metadata, this version reads {WIDTHS_BITS}")
    if not isinstance(rows_per_table, int) or rows_per_table < 1 or rows_per_table % ROWS_PER_BLOCK:
        raise UserError(f"{name}: rows_per_table is {rows_per_table!r} in the metadata, no multiple of 16")
    num_tables = -(-shape[0] // rows_per_table)
    indices = _part(name + INDICES_SUFFIX, tensors, np.uint8, packed_shape(shape, bits))
    tables = _part(name + TABLES_SUFFIX, tensors, np.int8, (num_tables, 1 << bits))
    scales = _part(name + SCALES_SUFFIX, tensors, np.float32, (num_tables,))
    _check_scales(name + SCALES_SUFFIX, scales)
    row_scales = None
    if _has_row_scales(name, entry, metadata):
        row_scales = _part(name + ROW_SCALES_SUFFIX, tensors, np.float16, shape[:1])
        _check_scales(name + ROW_SCALES_SUFFIX, row_scales)
    return PalettizedMatrix(indices, tables, scales, shape, bits, rows_per_table, row_scales)


def _has_row_scales(name: str, entry: Any, metadata: Mapping[str, str]) -> bool:
    if metadata[VERSION_KEY] == "1":
        return False
    has_row_scales = entry.get("row_scales") if isinstance(entry, dict) else None
    if not isinstance(has_row_scales, bool):
        raise UserError(f"{name}: row_scales is {has_row_scales!r} in the metadata, not true or false")
    return has_row_scales


def _listed(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    version = metadata.get(VERSION_KEY)
    if version not in READ_VERSIONS:
        known = " and ".join(map(repr, READ_VERSIONS))
        raise UserError(f"{VERSION_KEY} is {version!r} in the metadata, this codling reads {known}")
    try:
        listed = json.loads(metadata.get(key, "{}"))
    except json.JSONDecodeError as error:
        raise UserError(f"{key}: the metadata is not JSON ({error})") from None
    if not isinstance(listed, dict):
        raise UserError(f"{key}: the metadata is not a JSON object")
    return listed


def _read_shape(name: str, entry: Any) -> tuple[int, int]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(dim, int) and dim > 0 for dim in shape)):
        raise UserError(f"{name}: shape is {shape!r} in the metadata, not two positive whole numbers")
    return shape[0], shape[1]


def _part(name: str, tensors: Mapping[str, np.ndarray], dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    if name not in tensors:
        raise UserError(f"{name}: the file lacks this tensor")
    part = tensors[name]
    if part.dtype != dtype or part.shape != shape:
        wanted = f"{np.dtype(dtype).name} {list(shape)}"
        raise UserError(f"{name}: expected {wanted}, found {part.dtype.name} {list(part.shape)}")
    return part


def _check_scales(name: str, scales: np.ndarray) -> None:
    num_bad = int((~(np.isfinite(scales) & (scales > 0))).sum())
    if num_bad:
        raise UserError(f"{name}: {num_bad} of {scales.size} scales are not positive finite numbers")
