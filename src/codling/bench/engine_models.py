"""Models of random weights to measure speed on: their values matter to nobody, only their number and form.

A bundle palettized to the recipe's 3.7 bits with adapters, and the same shape dense, for other libraries to make their
own files of. A matrix is drawn whenever it is asked for, and the same each time, so that a model of any size is
written in the memory of its largest matrix.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import PRNGKeyArray

from codling.artifact.adapter_files import ADAPTER_WEIGHTS_FILE, write_adapter_config
from codling.artifact.bundle import ADAPTERS_DIRECTORY, write_tokenizer_files
from codling.artifact.hf import EMBEDDING_NAME, WEIGHTS_FILE, tensor_shapes
from codling.artifact.manifest import MANIFEST_FILE, artifact_id, file_sha256
from codling.artifact.model_files import OWN_SPECIAL_IDS, PALETTIZED, write_config
from codling.artifact.stage import Inputs, Stage, run_stage
from codling.artifact.tensor_files import spec_of, stream_tensors, write_tensors
from codling.artifact.workspace import SilentReporter, Workspace
from codling.compress.embedding_quant import QuantizedEmbedding
from codling.compress.pack_bits import packed_shape
from codling.compress.palettize import PalettizedMatrix, stored_bits
from codling.compress.tensors import Compressed, to_metadata, to_tensors
from codling.config import config, to_dict
from codling.model.config import ModelConfig
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.train import TokenizerConfig, train_tokenizer

ROWS_PER_TABLE = 16
ENTRY_DEVIATION = 73.0
"""Of whole numbers that are drawn evenly from -127 to 127."""
WORD_LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD_LENGTH, WORDS_PER_PIECE, WORDS_PER_LINE = 8, 2, 50
"""Enough random words for a vocabulary of any size to be learned from."""


@config
class RandomBundleConfig:
    """What is drawn."""

    shape: ModelConfig
    bits_per_weight: float = 3.7
    """Of the linear layers on average, tables and scales included: the recipe's."""
    num_adapters: int = 8
    rank: int = 16
    """Of each adapter: the recipe's."""


def random_bundle(directory: Path, drawn: RandomBundleConfig, say: Callable[[str], None]) -> Path:
    """The bundle of this configuration in a directory; made if it is not there."""
    stage = Stage("random_bundle", "bundle", 1, drawn, {}, _write_bundle)
    path = directory / artifact_id(stage.name, stage.version, to_dict(drawn), 0, {})
    if not (path / MANIFEST_FILE).exists():
        say(f"making {path}: random weights, once")
        run_stage(stage, {}, directory, 0, SilentReporter())
    return path


@final
class RandomWeights(Mapping[str, np.ndarray]):
    """All tensors of a dense model, float32: deviation 1/sqrt(inputs), norms of 1."""

    def __init__(self, shape: ModelConfig) -> None:
        self._shapes = tensor_shapes(shape)

    def __getitem__(self, name: str) -> np.ndarray:
        dims = self._shapes[name]
        if len(dims) == 1:
            return np.ones(dims, np.float32)
        drawn: np.ndarray = _random_for(name).standard_normal(dims, np.float32) / np.float32(dims[1] ** 0.5)
        return drawn

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


@final
class RandomCompressed(Mapping[str, Compressed]):
    """All matrices of a compressed model: an int8 embedding, and linear layers of 4 and 2 bits in turn."""

    def __init__(self, drawn: RandomBundleConfig) -> None:
        self._shapes = {name: dims for name, dims in tensor_shapes(drawn.shape).items() if len(dims) == 2}
        self._widths = mixed_widths(
            {name: dims for name, dims in self._shapes.items() if name != EMBEDDING_NAME}, drawn.bits_per_weight
        )

    def __getitem__(self, name: str) -> Compressed:
        random, (num_rows, num_columns) = _random_for(name), self._shapes[name]
        scale = 1.0 / (ENTRY_DEVIATION * num_columns**0.5)
        if name == EMBEDDING_NAME:
            values = random.integers(-127, 128, (num_rows, num_columns), np.int8)
            return QuantizedEmbedding(values, np.full(num_rows, scale, np.float32))
        bits, num_tables = self._widths[name], -(-num_rows // ROWS_PER_TABLE)
        return PalettizedMatrix(
            random.integers(0, 256, packed_shape((num_rows, num_columns), bits), np.uint8),
            np.sort(random.integers(-127, 128, (num_tables, 1 << bits), np.int8), axis=1),
            np.full(num_tables, scale, np.float32),
            (num_rows, num_columns),
            bits,
            ROWS_PER_TABLE,
            random.uniform(0.8, 1.25, num_rows).astype(np.float16),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def mixed_widths(shapes: Mapping[str, tuple[int, ...]], bits_per_weight: float) -> dict[str, int]:
    """2 bits for a matrix where 4 would lift the average so far above `bits_per_weight`."""
    widths: dict[str, int] = {}
    stored, num_weights = 0.0, 0
    for name, (num_rows, num_columns) in shapes.items():
        num_weights += num_rows * num_columns
        of_4, of_2 = (
            stored_bits((num_rows, num_columns), bits, ROWS_PER_TABLE, with_row_scales=True) for bits in (4, 2)
        )
        is_wide = stored + of_4 <= bits_per_weight * num_weights
        widths[name], stored = (4, stored + of_4) if is_wide else (2, stored + of_2)
    return widths


@cache
def random_tokenizer(vocab_size: int) -> Tokenizer:
    """A tokenizer of so many pieces, learned from words of random letters."""
    random = np.random.default_rng(0)
    num_words = WORDS_PER_PIECE * vocab_size
    letters = random.choice(list(WORD_LETTERS), (num_words, WORD_LENGTH))
    words = ["".join(word) for word in letters]
    lines = [" ".join(words[begin : begin + WORDS_PER_LINE]) for begin in range(0, num_words, WORDS_PER_LINE)]
    return Tokenizer.from_bytes(train_tokenizer(lines, TokenizerConfig(vocab_size=vocab_size)))


def _write_bundle(drawn: RandomBundleConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    tokenizer = random_tokenizer(drawn.shape.vocab_size)
    compressed, dense = RandomCompressed(drawn), RandomWeights(drawn.shape)
    write_config(
        out.path,
        drawn.shape,
        tokenizer_sha256=tokenizer.sha256,
        special_ids=OWN_SPECIAL_IDS,
        quantization=PALETTIZED,
    )
    specs = {name: spec_of(dense[name]) for name in dense if name not in compressed}
    matrix_of_part: dict[str, str] = {}
    for name, matrix in compressed.items():
        parts = to_tensors(name, matrix)
        specs |= {part: spec_of(tensor) for part, tensor in parts.items()}
        matrix_of_part |= dict.fromkeys(parts, name)

    def read(part: str) -> np.ndarray:
        name = matrix_of_part.get(part)
        return dense[part] if name is None else to_tensors(name, compressed[name])[part]

    stream_tensors(out.path / WEIGHTS_FILE, specs, read, to_metadata(compressed))
    write_tokenizer_files(out.path, tokenizer)
    base_sha256 = file_sha256(out.path / WEIGHTS_FILE)
    for number in range(drawn.num_adapters):
        _write_adapter(out.path / ADAPTERS_DIRECTORY / f"random{number}", drawn, base_sha256)
    return {}


def _write_adapter(directory: Path, drawn: RandomBundleConfig, base_sha256: str) -> None:
    """Of normal numbers, small enough to change what is said and not to drown it."""
    random, tensors = _random_for(directory.name), {}
    for name, dims in tensor_shapes(drawn.shape).items():
        if len(dims) == 2 and name != EMBEDDING_NAME:
            prefix = f"base_model.model.{name.removesuffix('.weight')}"
            down = random.standard_normal((drawn.rank, dims[1]), np.float32) / dims[1] ** 0.5
            up = 0.1 * random.standard_normal((dims[0], drawn.rank), np.float32) / drawn.rank**0.5
            tensors[f"{prefix}.lora_A.weight"] = down.astype(np.float16)
            tensors[f"{prefix}.lora_B.weight"] = up.astype(np.float16)
    directory.mkdir(parents=True, exist_ok=True)
    write_tensors(directory / ADAPTER_WEIGHTS_FILE, tensors, {})
    modules = {name.split(".")[-3] for name in tensors}
    write_adapter_config(directory, drawn.rank, modules, base_sha256)


def _random_for(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))
