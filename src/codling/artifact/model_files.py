"""A stage's model on disk: `config.json` and `model.safetensors`, dense or palettized."""

from pathlib import Path

import numpy as np

from codling.artifact.hf import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    config_json,
    model_config,
    model_from_tensors,
    model_tensors,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from codling.compress.tensors import Compressed, compressed_names, from_tensors, to_metadata, to_tensors
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.tokenizer.special_tokens import BOS, END, PAD

TOKENIZER_KEY = "codling_tokenizer_sha256"
"""In `config.json`: the tokenizer that the weights were trained with."""
QUANTIZATION_KEY = "quantization_config"
"""In `config.json` of a palettized model: other runtimes refuse what they cannot read instead of misreading it."""


def save_model(directory: Path, model: Transformer, *, tokenizer_sha256: str) -> None:
    """Write a dense float32 model."""
    _write_config(directory, model.config, tokenizer_sha256, {})
    write_tensors(directory / WEIGHTS_FILE, model_tensors(model), {})


def save_compressed_model(
    directory: Path, model: Transformer, compressed: dict[str, Compressed], *, tokenizer_sha256: str
) -> None:
    """Write a model of which the named tensors are compressed; the rest (norm scales) stays float32."""
    tensors = {name: tensor for name, tensor in model_tensors(model).items() if name not in compressed}
    for name, matrix in compressed.items():
        tensors |= to_tensors(name, matrix)
    quantization = {"quant_method": "codling_palettized", "format": "native/FORMAT.md"}
    _write_config(directory, model.config, tokenizer_sha256, {QUANTIZATION_KEY: quantization})
    write_tensors(directory / WEIGHTS_FILE, tensors, to_metadata(compressed))


def load_model(directory: Path) -> Transformer:
    """Read a model; what is palettized comes back as the dense matrices that it stands for.

    Errors: `UserError` for files that are missing or damaged, and for tensors that do not fit the config.
    """
    config = load_config(directory)
    tensors, metadata = read_tensors(directory / WEIGHTS_FILE)
    return model_from_tensors(config, _dense(tensors, metadata), source=str(directory / WEIGHTS_FILE))


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


def _write_config(
    directory: Path, config: ModelConfig, tokenizer_sha256: str, extra: dict[str, dict[str, str]]
) -> None:
    special_ids = {"bos": BOS.id, "eos": END.id, "pad": PAD.id}
    values = config_json(config, special_ids) | {TOKENIZER_KEY: tokenizer_sha256} | extra
    write_json(directory / CONFIG_FILE, values)


def _dense(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> dict[str, np.ndarray]:
    dense = dict(tensors)
    for name in compressed_names(metadata):
        matrix = from_tensors(name, tensors, metadata)
        for part in to_tensors(name, matrix):
            del dense[part]
        dense[name] = matrix.dequantize()
    return dense
