"""A stage's model on disk: `config.json` and `model.safetensors`, dense or palettized."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, final

import numpy as np

from codling.artifact.hf import (
    CONFIG_FILE,
    EMBEDDING_NAME,
    WEIGHTS_FILE,
    SpecialIds,
    config_json,
    model_config,
    model_from_tensors,
    model_tensors,
    read_json,
    write_json,
)
from codling.artifact.layout import TOKENIZER_KEY as TOKENIZER_KEY
from codling.artifact.tensor_files import StoredTensors, spec_of, stream_tensors, write_tensors
from codling.compress.palettize import PalettizedMatrix
from codling.compress.tensors import Compressed, compressed_names, from_tensors, part_names, to_metadata, to_tensors
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.model.count import count_parameters
from codling.model.transformer import Transformer
from codling.tokenizer.special_tokens import BOS, END, PAD

QUANTIZATION_KEY = "quantization_config"
"""In `config.json` of a palettized model: other runtimes refuse what they cannot read instead of misreading it."""

PALETTIZED: Final = {"quant_method": "codling_palettized", "format": "native/FORMAT.md"}
"""What stands there."""

OWN_SPECIAL_IDS: Final[SpecialIds] = {"bos": BOS.id, "eos": END.id, "pad": PAD.id}
"""Those of codling's own tokenizers."""


def save_model(
    directory: Path, model: Transformer, *, tokenizer_sha256: str, special_ids: SpecialIds = OWN_SPECIAL_IDS
) -> None:
    """Write a dense float32 model; the special ids are for other runtimes."""
    write_config(directory, model.config, tokenizer_sha256=tokenizer_sha256, special_ids=special_ids)
    write_tensors(directory / WEIGHTS_FILE, model_tensors(model), {})


def save_compressed_model(
    directory: Path,
    model: Transformer,
    compressed: dict[str, Compressed],
    *,
    tokenizer_sha256: str,
    special_ids: SpecialIds = OWN_SPECIAL_IDS,
) -> None:
    """Write a model of which the named tensors are compressed; the rest (norm scales) stays float32."""
    tensors = {name: tensor for name, tensor in model_tensors(model).items() if name not in compressed}
    for name, matrix in compressed.items():
        tensors |= to_tensors(name, matrix)
    write_config(
        directory,
        model.config,
        tokenizer_sha256=tokenizer_sha256,
        special_ids=special_ids,
        quantization=PALETTIZED,
    )
    write_tensors(directory / WEIGHTS_FILE, tensors, to_metadata(compressed))


def save_compressed_files(
    directory: Path, source: Path, compressed: Mapping[str, Compressed], changed: Mapping[str, np.ndarray] | None = None
) -> None:
    """Write the model in `source` with the named tensors compressed, and the changed ones as they are given.

    The others are copied, one at a time.
    """
    stored = StoredTensors([source / WEIGHTS_FILE])
    written = dict(changed or {})
    for name, matrix in compressed.items():
        written |= to_tensors(name, matrix)
    dense = {name: spec for name, spec in stored.specs.items() if name not in compressed}
    specs = dense | {name: spec_of(array) for name, array in written.items()}
    write_config(
        directory,
        load_config(source),
        tokenizer_sha256=tokenizer_of(source),
        special_ids=special_ids_of(source),
        quantization=PALETTIZED,
    )
    stream_tensors(
        directory / WEIGHTS_FILE,
        specs,
        lambda name: written[name] if name in written else stored[name],
        to_metadata(compressed),
    )


def load_model(directory: Path) -> Transformer:
    """Read a model; what is palettized comes back as the dense matrices that it stands for.

    Errors: `UserError` for files that are missing or damaged, and for tensors that do not fit the config.
    """
    config = load_config(directory)
    path = directory / WEIGHTS_FILE
    return model_from_tensors(config, _DenseTensors(StoredTensors([path])), source=str(path))


def load_compressed(directory: Path) -> dict[str, Compressed]:
    """Read the compressed matrices of a model as they lie in its file; none of a dense one. Errors: `UserError`."""
    stored = StoredTensors([directory / WEIGHTS_FILE])
    return {name: from_tensors(name, stored, stored.metadata) for name in compressed_names(stored.metadata)}


class StoredBits(NamedTuple):
    """What a compressed model takes on disk."""

    bits_per_weight_projections: float
    """Of the palettized matrices: indices with their padding, tables, scales."""
    bits_per_weight_total: float
    """Of everything: embedding and norms, too."""
    size_bytes: int


def stored_bits(directory: Path) -> StoredBits:
    """Stored bits a weight of a compressed model. Errors: `UserError` for files that are missing or damaged."""
    stored = StoredTensors([directory / WEIGHTS_FILE])
    matrices = {name: matrix for name, matrix in load_compressed(directory).items() if name != EMBEDDING_NAME}
    parts = {part for name, matrix in matrices.items() for part in to_tensors(name, matrix)}
    bits = {name: 8 * spec.size_bytes for name, spec in stored.specs.items()}
    num_weights = sum(math.prod(matrix.shape) for matrix in matrices.values() if isinstance(matrix, PalettizedMatrix))
    num_all = count_parameters(load_config(directory)).total
    total = sum(bits.values())
    return StoredBits(sum(bits[part] for part in parts) / num_weights, total / num_all, total // 8)


def load_config(directory: Path) -> ModelConfig:
    """Read the shape of a model."""
    values = read_json(directory / CONFIG_FILE)
    return model_config(values, source=str(directory / CONFIG_FILE))


def tokenizer_of(directory: Path) -> str:
    """SHA-256 of the tokenizer that a model was trained with. Errors: `UserError` if the config names none."""
    sha256 = read_json(directory / CONFIG_FILE).get(TOKENIZER_KEY)
    if not isinstance(sha256, str):
        raise UserError(f"{directory / CONFIG_FILE}: does not name its tokenizer ({TOKENIZER_KEY})")
    return sha256


def special_ids_of(directory: Path) -> SpecialIds:
    """The special ids that a model's config names, to be handed on to what is made of it."""
    values = read_json(directory / CONFIG_FILE)
    return {role: values[f"{role}_token_id"] for role in OWN_SPECIAL_IDS if f"{role}_token_id" in values}


def write_config(
    directory: Path,
    config: ModelConfig,
    *,
    tokenizer_sha256: str,
    special_ids: SpecialIds,
    dtype: str = "float32",
    quantization: Mapping[str, str] | None = None,
) -> None:
    """Write a model's `config.json`."""
    extra = {} if quantization is None else {QUANTIZATION_KEY: dict(quantization)}
    values = config_json(config, special_ids, dtype) | {TOKENIZER_KEY: tokenizer_sha256} | extra
    write_json(directory / CONFIG_FILE, values)


@final
class _DenseTensors(Mapping[str, np.ndarray]):
    """What a file's tensors stand for: those that are compressed come back dense, when they are asked for."""

    def __init__(self, stored: StoredTensors) -> None:
        self._stored = stored
        self._metadata = stored.metadata
        self._compressed = set(compressed_names(self._metadata))
        self._names = sorted((stored.keys() - part_names(self._metadata)) | self._compressed)

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._compressed:
            return from_tensors(name, self._stored, self._metadata).dequantize()
        return self._stored[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
