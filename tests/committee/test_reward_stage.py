"""Every round's reward model learns from all labels so far, and is judged on prompts that no round's has seen."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.artifact.stage import Artifact
from codling.artifact.workspace import SilentReporter, Workspace
from codling.committee.label_pairs import LABELS_FILE
from codling.committee.reward_stage import RewardStageConfig, read_labels, run_reward_model, split_pairs
from codling.errors import UserError
from codling.posttrain.preferences import PreferencePair, read_preferences, write_preferences
from codling.posttrain.reward_files import load_reward_model
from codling.posttrain.train_rewards import RewardModelConfig
from codling.tokenizer.encode import MODEL_FILE
from codling.tokenizer.messages import Message
from codling.train.adamw import AdamWConfig
from codling.train.loop import LoopConfig
from codling.train.optimizer import OptimizerConfig
from codling.train.schedule import ScheduleConfig
from tests.committee.made_committee import leave, leave_model
from tests.conftest import Pair, TinyBuild
from tests.posttrain.polite_pairs import draw_pairs

PAIRS = draw_pairs(64, 0)
CONFIG = RewardStageConfig(
    training=RewardModelConfig(
        loop=LoopConfig(
            num_steps=20,
            batch_size_rows=16,
            optimizer=OptimizerConfig(schedule=ScheduleConfig(peak_rate=0.02, warmup_steps=2), rule=AdamWConfig()),
        ),
        row_length_tokens=48,
    ),
    heldout_share=0.5,
)


def labels(store: Path, name: str, pairs: Sequence[PreferencePair]) -> Artifact:
    return leave(store, name, lambda path: write_preferences(path / LABELS_FILE, pairs), kind="preferences")


def run(pair: Pair, store: Path, config: RewardStageConfig, pairs: Sequence[PreferencePair] = PAIRS) -> dict[str, Any]:
    def write_tokenizer(path: Path) -> None:
        (path / MODEL_FILE).write_bytes(pair.tokenizer.model)

    inputs = {
        "model": leave_model(store, pair, "server_sft"),
        "tokenizer": leave(store, "tokenizer", write_tokenizer),
        "labels_000": labels(store, "first", pairs[:32]),
        "labels_001": labels(store, "second", pairs[32:]),
    }
    out = store / "rewards"
    out.mkdir()
    return run_reward_model(config, inputs, Workspace("rewards", out, SilentReporter()), jax.random.key(0))


def test_labels_of_all_rounds_are_read_and_the_newest_verdict_counts(tmp_path: Path) -> None:
    first, second, third = PAIRS[0], PAIRS[1], PAIRS[2]
    swapped = replace(first, answers=first.answers[::-1], better=first.better, gradings=None)
    assert swapped.id == first.id
    inputs = {
        "labels_001": labels(tmp_path, "newer", [swapped, third]),
        "labels_000": labels(tmp_path, "older", [first, second]),
        "model": labels(tmp_path, "other", [PAIRS[5]]),
    }
    found = read_labels(inputs)
    assert {pair.id for pair in found} == {first.id, second.id, third.id}
    [verdict] = [pair for pair in found if pair.id == first.id]
    assert verdict.chosen == first.rejected


def test_no_prompt_is_on_both_sides_and_each_stays_on_its_own_in_every_round() -> None:
    train, heldout = split_pairs(PAIRS, 0.5)
    assert sorted(pair.id for pair in (*train, *heldout)) == sorted(pair.id for pair in PAIRS)
    prompts_train, prompts_heldout = ({pair.prompt.id for pair in side} for side in (train, heldout))
    assert prompts_train
    assert prompts_heldout
    assert not prompts_train & prompts_heldout
    later = split_pairs([*draw_pairs(64, 7), *PAIRS], 0.5)
    assert {pair.prompt.id for pair in later[1]} >= prompts_heldout
    assert not {pair.prompt.id for pair in later[0]} & prompts_heldout
    wider = split_pairs(PAIRS, 0.9)[1]
    assert {pair.id for pair in heldout} <= {pair.id for pair in wider}
    assert split_pairs(PAIRS, 0.0) == (PAIRS, [])


def test_it_learns_and_is_read_back(pair: Pair, tmp_path: Path) -> None:
    metrics = run(pair, tmp_path, CONFIG)
    train, heldout = split_pairs(list({one.id: one for one in PAIRS}.values()), 0.5)
    assert (metrics["num_train_pairs"], metrics["num_heldout_pairs"]) == (len(train), len(heldout))
    assert metrics["before"]["accuracy"] == 0.0
    assert metrics["after"]["accuracy"] > 0.7
    assert metrics["num_too_long"] == 0
    assert np.asarray(load_reward_model(tmp_path / "rewards").reward).any()


def test_nothing_held_out_means_nothing_measured(pair: Pair, tmp_path: Path) -> None:
    short = replace(CONFIG.training, loop=replace(CONFIG.training.loop, num_steps=1))
    metrics = run(pair, tmp_path / "a", replace(CONFIG, training=short, heldout_share=0.0))
    assert (metrics["before"], metrics["after"], metrics["num_heldout_pairs"]) == (None, None, 0)


def _lengthened(answer: Message) -> Message:
    return replace(answer, content=f"{answer.content} {'x ' * 90}")


def test_held_out_pairs_that_no_row_holds_are_not_measured(pair: Pair, tmp_path: Path) -> None:
    train, heldout = split_pairs(PAIRS, 0.5)
    longer = [replace(one, answers=(_lengthened(one.answers[0]), _lengthened(one.answers[1]))) for one in heldout]
    short = replace(CONFIG.training, loop=replace(CONFIG.training.loop, num_steps=1))
    metrics = run(pair, tmp_path / "a", replace(CONFIG, training=short), [*train, *longer])
    assert metrics["num_heldout_pairs"] > 0
    assert (metrics["before"], metrics["after"]) == (None, None)


def test_when_all_is_held_out_nothing_is_trained(pair: Pair, tmp_path: Path) -> None:
    [one] = [pair for pair in PAIRS if split_pairs([pair], 0.5)[1]][:1]
    other = replace(one, answers=(one.answers[0], replace(one.answers[1], content="Perhaps.")))
    with pytest.raises(UserError, match=r"rewards: all 2 pairs are held out; lower heldout_share, or label more"):
        run(pair, tmp_path, CONFIG, [one] * 32 + [other])
    assert not list((tmp_path / "rewards").iterdir())


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="must be at least 0 and below 1"):
        replace(CONFIG, heldout_share=share)


def test_a_later_round_reads_the_labels_of_the_earlier_ones(tiny_build: TinyBuild) -> None:
    artifacts = tiny_build.artifacts
    names = [f"{name}_labels" for name in ("server_round1", "server_round2", "device_round1")]
    for count, name in enumerate(("server_round1", "server_round2", "device_round1"), start=1):
        rewards = artifacts[f"{name}_rewards"].manifest
        read = [rewards.inputs[role] for role in sorted(rewards.inputs) if role.startswith("labels")]
        assert read == [artifacts[label].manifest.id for label in names[:count]]
        ids = {pair.id for label in names[:count] for pair in read_preferences(artifacts[label].path / LABELS_FILE)}
        assert rewards.metrics["num_train_pairs"] + rewards.metrics["num_heldout_pairs"] == len(ids)
