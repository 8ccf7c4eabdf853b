"""The conversations stage: as many as asked for, none held out that was trained on, the same every time."""

from pathlib import Path

import jax
import pytest

from codling.artifact.workspace import SilentReporter, Workspace
from codling.data.conversations import ConversationsConfig, build_skill, load_conversations, run_conversations
from codling.errors import UserError
from tests.conftest import TinyBuild


def test_counts_and_splits(tiny_build: TinyBuild) -> None:
    path = tiny_build.artifacts["conversations"].path
    train, heldout = (load_conversations(path, split) for split in ("train", "heldout"))
    assert {name: len(examples) for name, examples in train.items()} == {
        "formats": 100,
        "intents": 100,
        "story_answers": 100,
        "tool_calls": 100,
    }
    for name, examples in heldout.items():
        assert len(examples) == 10
        trained_on = {str(example.prompt) for example in train[name]}
        assert not {str(example.prompt) for example in examples} & trained_on


def test_the_same_config_gives_the_same_files(tmp_path: Path) -> None:
    config = ConversationsConfig(num_train_by_skill={"tool_calls": 20}, num_heldout=5, seed=3)
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run_conversations(config, {}, Workspace("x", tmp_path / name, SilentReporter()), jax.random.key(0))
        texts.append((tmp_path / name / "train" / "tool_calls.jsonl").read_bytes())
    assert texts[0] == texts[1]


def test_an_unknown_skill_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown skill 'cooking' \(known: tool_calls, intents"):
        build_skill("cooking", ConversationsConfig(num_train_by_skill={}, num_heldout=1))
