import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from codling.artifact.bundle import export_hf, load_bundle
from codling.artifact.checkpoint import INDEX_FILE, open_checkpoint
from codling.artifact.hf import EMBEDDING_NAME
from codling.errors import UserError
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.imported import ImportedTokenizer
from tests.foreign_checkpoint import END_OF_TEXT, IM_END, shape, tensors, train_byte_level, write_checkpoint

NORM = "model.norm.weight"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "theirs")


def edit_json(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))


def edit_weights(directory: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    weights = load_file(directory / "model.safetensors")
    change(weights)
    save_file(weights, directory / "model.safetensors")


def split_weights(directory: Path) -> None:
    """Two files and the index, as larger checkpoints come."""
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: weights[name] for name in held}, directory / file)
    weight_map = {name: file for file, held in parts.items() for name in held}
    (directory / INDEX_FILE).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def add_tokens(directory: Path) -> None:
    tokenizer = train_byte_level()
    tokenizer.add_tokens([f"<extra_{n}>" for n in range(11)])
    tokenizer.save(str(directory / "tokenizer.json"))


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_checkpoint_opens(tmp_path: Path, kind: str, dtype: Any) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "theirs", kind, dtype=dtype))
    assert checkpoint.config == shape(kind)
    expected = tensors(shape(kind), dtype)
    assert checkpoint.tensors.keys() == expected.keys()
    np.testing.assert_array_equal(checkpoint.tensors[NORM], expected[NORM])
    assert checkpoint.special_ids == {"bos": END_OF_TEXT, "eos": [IM_END, END_OF_TEXT]}
    assert isinstance(checkpoint.tokenizer, ImportedTokenizer)
    assert {path.name for path in checkpoint.files} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    }


def test_shards_are_one_checkpoint(directory: Path) -> None:
    split_weights(directory)
    checkpoint = open_checkpoint(directory)
    assert checkpoint.tensors.keys() == tensors(shape()).keys()
    assert sum(path.suffix == ".safetensors" for path in checkpoint.files) == 2


def test_ends_of_text_are_found_in_the_config_of_older_checkpoints(directory: Path) -> None:
    (directory / "generation_config.json").unlink()
    assert open_checkpoint(directory).special_ids == {"bos": END_OF_TEXT, "eos": IM_END}


def test_a_checkpoint_that_began_here_has_our_own_tokenizer(tmp_path: Path, pair: Any) -> None:
    export_hf(load_bundle(pair.server), tmp_path / "out")
    checkpoint = open_checkpoint(tmp_path / "out")
    assert isinstance(checkpoint.tokenizer, Tokenizer)
    assert checkpoint.tokenizer.sha256 == pair.tokenizer.sha256
    assert checkpoint.special_ids == {"bos": 1, "eos": 10, "pad": 3}


def test_another_sentencepiece_model_beside_tokenizer_json_does_not_matter(directory: Path) -> None:
    (directory / "tokenizer.model").write_bytes(b"somebody else's")
    assert isinstance(open_checkpoint(directory).tokenizer, ImportedTokenizer)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "config.json: no such file, as a checkpoint in the Hugging Face"),
        (lambda d: (d / "config.json").write_text("{"), "config.json: not JSON"),
        (lambda d: edit_json(d / "config.json", model_type="gpt2"), "model_type 'gpt2' is not one of qwen3, llama"),
        (lambda d: edit_json(d / "config.json", tie_word_embeddings=False), "config.json: untied; input and output"),
        (
            lambda d: edit_json(d / "config.json", rope_scaling={"rope_type": "llama3", "factor": 8.0}),
            "RoPE scaling of type 'llama3' is not supported",
        ),
        (lambda d: edit_json(d / "config.json", quantization_config={"bits": 4}), "are quantized already"),
        (lambda d: edit_json(d / "config.json", head_dim=...), "key 'head_dim' is missing"),
        (lambda d: (d / "model.safetensors").unlink(), "theirs: holds no weights, neither model.safetensors nor"),
        (
            lambda d: (d / "model.safetensors").write_bytes((d / "model.safetensors").read_bytes()[:-1]),
            "model.safetensors: not readable as safetensors, perhaps truncated",
        ),
        (
            lambda d: edit_weights(d, lambda weights: weights.pop(NORM)),
            "model.safetensors: tensor 'model.norm.weight' is missing",
        ),
        (
            lambda d: edit_weights(d, lambda weights: weights.update(extra=weights[NORM])),
            "model.safetensors: tensor 'extra' belongs to no part of this model",
        ),
        (
            lambda d: edit_weights(d, lambda weights: weights.update({NORM: weights[NORM][:-1].copy()})),
            r"tensor 'model.norm.weight' has shape \[31\], the config asks for \[32\]",
        ),
        (
            lambda d: edit_weights(d, lambda weights: weights.update({NORM: weights[NORM].astype(np.int8)})),
            "tensor 'model.norm.weight' is stored as I8; taken are float32, bfloat16, float16",
        ),
        (lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json: no such file, let `AutoTokenizer"),
        (lambda d: (d / "tokenizer.json").write_text("{}"), "tokenizer.json: not readable as a tokenizer"),
        (add_tokens, "tokenizer.json: has tokens up to id 330, the embedding has 330 rows only"),
        (lambda d: (d / "generation_config.json").write_text("["), "generation_config.json: not JSON"),
        (lambda d: edit_json(d / "generation_config.json", eos_token_id=999), "eos_token_id 999 is no token"),
    ],
)
def test_what_cannot_be_taken_is_named(directory: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(directory)
    with pytest.raises(UserError, match=message):
        open_checkpoint(directory)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "model-00002-of-00002.safetensors").unlink(), "00002-of-00002.safetensors: no such file, but"),
        (lambda d: edit_json(d / INDEX_FILE, weight_map=...), "index.json: has no weight_map"),
        (lambda d: edit_json(d / INDEX_FILE, weight_map={NORM: "../x"}), "index.json: '../x' is no file of this dir"),
        (
            lambda d: edit_json(d / INDEX_FILE, weight_map={NORM: "model-00001-of-00002.safetensors"}),
            "model.safetensors.index.json: tensor 'model.* is missing",
        ),
    ],
)
def test_shards_that_are_not_whole_are_named(directory: Path, damage: Callable[[Path], Any], message: str) -> None:
    split_weights(directory)
    damage(directory)
    with pytest.raises(UserError, match=message):
        open_checkpoint(directory)


def test_there_must_be_a_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such directory"):
        open_checkpoint(tmp_path / "nowhere")


def test_a_palettized_export_is_no_checkpoint(pair: Any) -> None:
    with pytest.raises(UserError, match="quantized already"):
        open_checkpoint(pair.device)


def test_our_own_tokenizer_must_have_as_many_tokens_as_the_weights(tmp_path: Path, pair: Any, directory: Path) -> None:
    (directory / "tokenizer.model").write_bytes(pair.tokenizer.model)
    with pytest.raises(UserError, match="theirs: the weights have 330 tokens, the tokenizer 600"):
        open_checkpoint(directory)
    assert EMBEDDING_NAME in load_file(directory / "model.safetensors")
