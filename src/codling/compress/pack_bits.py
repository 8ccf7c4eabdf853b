"""Pack table indices into bytes in the order in which the kernels read them.

Rows go in blocks of 16, the lanes of a 512-bit register. Inside a block, a step is 16 rows x 4 neighboring
columns: 64 indices in row-major order, as a dot product of four bytes a lane wants them (AVX-512 VNNI; two
halves for AVX2, four quarters for NEON). A chunk of 64 bytes holds two steps of 4-bit or four steps of
2-bit indices, the earliest step in the lowest bits, so that one mask and one shift unpack a whole register.
`native/FORMAT.md` is the specification; this module is its writer and reader for NumPy.
"""

import numpy as np
from jaxtyping import UInt8

ROWS_PER_BLOCK = 16
COLUMNS_PER_STEP = 4
CHUNK_BYTES = ROWS_PER_BLOCK * COLUMNS_PER_STEP
WIDTHS_BITS = (2, 4)


def columns_per_chunk(bits: int) -> int:
    """Columns of a block that one chunk holds; columns are padded to a multiple of it."""
    return COLUMNS_PER_STEP * (8 // bits)


def packed_shape(shape: tuple[int, int], bits: int) -> tuple[int, int]:
    """Shape of the packed bytes of a matrix (out_dim, in_dim): blocks of 16 rows, bytes of a block."""
    out_dim, in_dim = shape
    return -(-out_dim // ROWS_PER_BLOCK), -(-in_dim // columns_per_chunk(bits)) * CHUNK_BYTES


def pack_indices(indices: UInt8[np.ndarray, "O I"], bits: int) -> UInt8[np.ndarray, "blocks bytes"]:
    """Pack indices below 2^bits; rows and columns are padded with index 0 to whole blocks and chunks."""
    assert bits in WIDTHS_BITS, bits
    assert indices.max(initial=0) < 1 << bits, f"an index does not fit into {bits} bits"
    num_blocks, block_bytes = packed_shape(indices.shape, bits)
    num_rows, num_columns = num_blocks * ROWS_PER_BLOCK, block_bytes // CHUNK_BYTES * columns_per_chunk(bits)
    padding = ((0, num_rows - indices.shape[0]), (0, num_columns - indices.shape[1]))
    padded = np.pad(indices, padding).reshape(num_blocks, ROWS_PER_BLOCK, -1, 8 // bits, COLUMNS_PER_STEP)
    steps = padded.transpose(3, 0, 2, 1, 4).reshape(8 // bits, num_blocks, block_bytes)
    packed = np.zeros((num_blocks, block_bytes), dtype=np.uint8)
    for position, step in enumerate(steps):
        packed |= step << np.uint8(position * bits)
    return packed


def unpack_indices(
    packed: UInt8[np.ndarray, "blocks bytes"], shape: tuple[int, int], bits: int
) -> UInt8[np.ndarray, "O I"]:
    """Undo `pack_indices`: the padding is cut off again."""
    assert bits in WIDTHS_BITS, bits
    assert packed.shape == packed_shape(shape, bits), (packed.shape, shape, bits)
    mask = np.uint8((1 << bits) - 1)
    steps = np.stack([(packed >> np.uint8(position * bits)) & mask for position in range(8 // bits)])
    by_row = (1, 3, 2, 0, 4)  # blocks, rows, chunks, steps, columns
    blocks = steps.reshape(8 // bits, len(packed), -1, ROWS_PER_BLOCK, COLUMNS_PER_STEP).transpose(by_row)
    rows = blocks.reshape(len(packed) * ROWS_PER_BLOCK, -1)
    return np.ascontiguousarray(rows[: shape[0], : shape[1]])
