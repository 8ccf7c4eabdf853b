"""Somebody else's checkpoint in the Hugging Face layout: opened and checked, before anything is made of it.

Only headers are read of the weights, so a checkpoint of any size is refused in a moment, with the name of what is
missing or more than we can take.
"""

from pathlib import Path
from typing import Any, NamedTuple

from codling.artifact.hf import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    SpecialIds,
    check_names,
    check_shape,
    json_bytes,
    model_config,
    read_json,
    tensor_shapes,
)
from codling.artifact.model_files import OWN_SPECIAL_IDS, QUANTIZATION_KEY
from codling.artifact.tensor_files import StoredTensors, TensorSpec
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.tokenizer.encode import MODEL_FILE, Tokenizer
from codling.tokenizer.imported import (
    COMPANION_FILES,
    GENERATION_FILE,
    IMPORTED_FILE,
    ImportedTokenizer,
    SpecialRoles,
    TextTokenizer,
)

INDEX_FILE = "model.safetensors.index.json"
"""Of weights in several files: the name of each tensor, and the file that holds it."""
FLOAT_TYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
"""The types of weights that are taken, as files and as `config.json` name them."""


class Checkpoint(NamedTuple):
    """A checkpoint that can be taken."""

    config: ModelConfig
    tensors: StoredTensors
    tokenizer: TextTokenizer
    special_ids: SpecialIds
    files: tuple[Path, ...]
    """All that it was read from."""


def open_checkpoint(directory: Path) -> Checkpoint:
    """Open a checkpoint, and check all but the values of its weights.

    Errors: `UserError` for a file that is missing or damaged, an architecture or a type that we do not have, a tensor
    that is missing, surplus or of the wrong shape, and a tokenizer that does not fit.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    values = read_json(_need(directory / CONFIG_FILE, "as a checkpoint in the Hugging Face layout has one"))
    config_path = str(directory / CONFIG_FILE)
    if values.get(QUANTIZATION_KEY):
        raise UserError(
            f"{config_path}: the weights are quantized already ({QUANTIZATION_KEY}); take the original ones"
        )
    config = model_config(values, source=config_path)
    weights = _weight_files(directory)
    tensors = StoredTensors(weights)
    is_whole = weights == [directory / WEIGHTS_FILE]
    _check_tensors(config, tensors.specs, str(directory / (WEIGHTS_FILE if is_whole else INDEX_FILE)))
    tokenizer = _open_tokenizer(directory, config, values)
    optional = (INDEX_FILE, MODEL_FILE, IMPORTED_FILE, GENERATION_FILE, *COMPANION_FILES)
    others = (directory / name for name in (CONFIG_FILE, *optional))
    return Checkpoint(
        config=config,
        tensors=tensors,
        tokenizer=tokenizer,
        special_ids=_special_ids(tokenizer),
        files=tuple(path for path in (*weights, *others) if path.is_file()),
    )


def _need(path: Path, why: str) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file, {why}")
    return path


def _weight_files(directory: Path) -> list[Path]:
    """One file, or all that the index names."""
    whole, index = directory / WEIGHTS_FILE, directory / INDEX_FILE
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise UserError(f"{directory}: holds no weights, neither {WEIGHTS_FILE} nor {INDEX_FILE}")
    file_by_tensor = read_json(index).get("weight_map")
    if not isinstance(file_by_tensor, dict) or not file_by_tensor:
        raise UserError(f"{index}: has no weight_map from tensors to files")
    names = sorted({str(name) for name in file_by_tensor.values()})
    if strange := [name for name in names if Path(name).name != name]:
        raise UserError(f"{index}: '{strange[0]}' is no file of this directory")
    return [_need(directory / name, f"but {INDEX_FILE} names it") for name in names]


def _check_tensors(config: ModelConfig, specs: dict[str, TensorSpec], source: str) -> None:
    check_names(config, specs, source=source)
    for name, shape in tensor_shapes(config).items():
        check_shape(name, specs[name].shape, shape, source=source)
    for name, spec in specs.items():
        if spec.dtype not in FLOAT_TYPES:
            types = ", ".join(FLOAT_TYPES.values())
            raise UserError(f"{source}: tensor '{name}' is stored as {spec.dtype}; taken are {types}")


def _open_tokenizer(directory: Path, config: ModelConfig, config_values: dict[str, Any]) -> TextTokenizer:
    """Codling's own, with its chat template, if the checkpoint began as a codling model; else `tokenizer.json`."""
    if (own := _own_tokenizer(directory / MODEL_FILE)) is not None:
        if own.vocab_size != config.vocab_size:
            raise UserError(f"{directory}: the weights have {config.vocab_size} tokens, the tokenizer {own.vocab_size}")
        return own
    _need(directory / IMPORTED_FILE, "let `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` write it")
    names = [name for name in (IMPORTED_FILE, *COMPANION_FILES) if (directory / name).is_file()]
    files = {name: (directory / name).read_bytes() for name in names}
    files[GENERATION_FILE] = _generation(directory / GENERATION_FILE, config_values)
    return ImportedTokenizer.from_files(files, vocab_size=config.vocab_size, source=str(directory))


def _own_tokenizer(path: Path) -> Tokenizer | None:
    try:
        return Tokenizer.from_bytes(path.read_bytes()) if path.is_file() else None
    except UserError:
        return None  # another SentencePiece model, which tokenizer.json says too


def _generation(path: Path, config_values: dict[str, Any]) -> bytes:
    """`generation_config.json`, where the ids of special tokens have their one home in a bundle.

    Older checkpoints have them in `config.json`, and often no such file.
    """
    values = read_json(path) if path.is_file() else {}
    for key in (f"{role}_token_id" for role in SpecialRoles._fields):
        if values.get(key) is None and config_values.get(key) is not None:
            values[key] = config_values[key]
    return json_bytes(values)


def _special_ids(tokenizer: TextTokenizer) -> SpecialIds:
    if isinstance(tokenizer, Tokenizer):
        return OWN_SPECIAL_IDS
    roles = tokenizer.roles
    named = {"bos": roles.bos, "eos": list(roles.eos) if len(roles.eos) > 1 else roles.eos[0], "pad": roles.pad}
    return {role: ids for role, ids in named.items() if ids is not None}
