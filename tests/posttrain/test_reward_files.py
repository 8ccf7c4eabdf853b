"""A reward model comes back as it was written; what is missing or of another shape is named."""

from pathlib import Path

import jax
import numpy as np
import pytest

from codling.artifact.hf import WEIGHTS_FILE
from codling.artifact.model_files import tokenizer_of
from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.errors import UserError
from codling.posttrain.reward_files import HEADS_FILE, load_reward_model, save_reward_model
from codling.posttrain.reward_model import RewardModel, init_reward_model
from tests.conftest import Pair


@pytest.fixture
def model(pair: Pair) -> RewardModel:
    draws = init_reward_model(pair.model, jax.random.key(0))
    random = np.random.default_rng(0)
    reward, out = (random.normal(size=part.shape).astype(np.float32) for part in (draws.reward, draws.grader_out))
    return RewardModel(pair.model, jax.numpy.asarray(reward), draws.grader_hidden, jax.numpy.asarray(out))


@pytest.fixture
def written(pair: Pair, model: RewardModel, tmp_path: Path) -> Path:
    save_reward_model(tmp_path, model, tokenizer_sha256=pair.tokenizer.sha256)
    return tmp_path


def test_it_comes_back_as_it_was_written(pair: Pair, model: RewardModel, written: Path) -> None:
    jax.tree.map(np.testing.assert_array_equal, load_reward_model(written), model)
    assert tokenizer_of(written) == pair.tokenizer.sha256


@pytest.mark.parametrize("name", [HEADS_FILE, WEIGHTS_FILE])
def test_a_file_that_is_missing_or_cut_is_named(written: Path, name: str) -> None:
    content = (written / name).read_bytes()
    (written / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=f"{name}: not readable as safetensors, perhaps truncated"):
        load_reward_model(written)
    (written / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        load_reward_model(written)


@pytest.mark.parametrize("name", ["reward", "grader_hidden", "grader_out"])
def test_a_head_that_is_missing_or_of_another_width_is_named(written: Path, name: str) -> None:
    tensors, _ = read_tensors(written / HEADS_FILE)
    write_tensors(written / HEADS_FILE, tensors | {name: tensors[name][..., :-1].copy()}, {})
    with pytest.raises(UserError, match=r"heads\.safetensors: '\w+' has the shape \(.*\), expected \("):
        load_reward_model(written)
    write_tensors(written / HEADS_FILE, {other: tensors[other] for other in tensors if other != name}, {})
    with pytest.raises(UserError, match=f"has no '{name}'; the reward model is damaged, train it again"):
        load_reward_model(written)


def test_heads_of_another_number_of_axes_are_named(written: Path) -> None:
    tensors, _ = read_tensors(written / HEADS_FILE)
    write_tensors(written / HEADS_FILE, tensors | {"grader_out": tensors["grader_out"][0]}, {})
    with pytest.raises(UserError, match="'grader_hidden' has the shape"):
        load_reward_model(written)
