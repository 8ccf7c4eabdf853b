"""The round's new models start from where they should, learn from what they should, and say what was left out."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.artifact.model_files import load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.committee.committee import best_model
from codling.committee.draw_prompts import TRAIN_FILE
from codling.committee.prompt_task import RewardWeights
from codling.committee.task_prompts import read_task_prompts, write_task_prompts
from codling.committee.train_members import OnlineStageConfig, run_online
from codling.errors import UserError
from codling.recipes.tiny import tiny
from codling.train.metrics import read_metrics
from tests.committee.made_committee import ask
from tests.conftest import TinyBuild

FOUND = tiny().alignment.server_rounds[0].mdloo
assert FOUND is not None
CONFIG: OnlineStageConfig = FOUND


@pytest.mark.parametrize("method", ["rs", "dpo", "ipo", "mdloo"])
def test_a_new_model_is_another_one_than_it_started_from(tiny_build: TinyBuild, method: str) -> None:
    artifacts = tiny_build.artifacts
    by_id = {artifact.manifest.id: artifact for artifact in artifacts.values()}
    for round_name in ("server_round1", "server_round2", "device_round1"):
        new = artifacts[f"{round_name}_{method}"]
        start = by_id[new.manifest.inputs["start"]]
        before, after = load_model(best_model(start)), load_model(new.path)
        assert before.config == after.config
        assert not np.array_equal(before.embedding, after.embedding)
        assert np.isfinite(np.asarray(after.embedding)).all()


def test_preference_tuning_learns_from_all_labels_so_far(tiny_build: TinyBuild) -> None:
    artifacts = tiny_build.artifacts
    for round_name, count in (("server_round1", 1), ("server_round2", 2), ("device_round1", 3)):
        for method in ("dpo", "ipo"):
            manifest = artifacts[f"{round_name}_{method}"].manifest
            assert sum(role.startswith("labels") for role in manifest.inputs) == count
            rewards = artifacts[f"{round_name}_rewards"].manifest.metrics
            assert manifest.metrics["num_pairs"] == rewards["num_train_pairs"] + rewards["num_heldout_pairs"]


def test_online_training_logs_every_iteration_and_sums_up_its_edges(tiny_build: TinyBuild) -> None:
    artifact = tiny_build.artifacts["server_round1_mdloo"]
    records, metrics = read_metrics(artifact.path), artifact.manifest.metrics
    assert [record["step"] for record in records] == [1, 2]
    assert metrics["num_answers"] == 2 * CONFIG.training.num_prompts * CONFIG.training.rollout.num_answers
    # With fewer iterations than an edge has, both edges are all of them.
    assert metrics["first"] == metrics["last"]
    assert metrics["first"]["reward"] == pytest.approx(np.mean([record["reward"] for record in records]))
    assert {"kl_to_reference", "reward_check", "entropy", "cut_off", "disagreement"} <= set(metrics["first"])
    assert all(math.isfinite(value) for value in metrics["first"].values())
    assert "step" not in metrics["first"]


def run(tiny_build: TinyBuild, path: Path, config: OnlineStageConfig, prompts: Any) -> dict[str, Any]:
    inputs = tiny_build.inputs(
        start="server_round1_rs", prompts="task_prompts", tokenizer="tokenizer", reward_model="server_round1_rewards"
    )
    (path / "prompts").mkdir(parents=True)
    write_task_prompts(path / "prompts" / TRAIN_FILE, prompts)
    inputs["prompts"] = inputs["prompts"]._replace(path=path / "prompts")
    return run_online(config, inputs, Workspace("mdloo", path, SilentReporter()), jax.random.key(0))


def test_prompts_without_room_are_left_out_and_counted(tiny_build: TinyBuild, tmp_path: Path) -> None:
    """Nobody says the number that all the others ask for: equal rewards teach nothing, and break nothing."""
    endless = ask("why? " * 1_100, expected="7")
    hopeless = [ask(f"{number}?", expected="-9876.5") for number in range(4)]
    unmoved = replace(CONFIG, rewards=RewardWeights(check=1.0, reward_model=0.0))
    metrics = run(tiny_build, tmp_path / "a", unmoved, [endless, *hopeless])
    assert metrics["num_prompts_without_room"] == 1
    assert metrics["first"]["groups_without_advantage"] == 1.0
    assert metrics["first"]["reward"] == 0.0
    assert all(math.isfinite(value) for value in metrics["last"].values())
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(load_model(tmp_path / "a")))
    with pytest.raises(UserError, match="none of 1 prompts leaves room for an answer of 32 tokens"):
        run(tiny_build, tmp_path / "b", unmoved, [endless])


def test_a_share_of_a_skill_that_no_prompt_has_is_named(tiny_build: TinyBuild, tmp_path: Path) -> None:
    prompts = read_task_prompts(tiny_build.artifacts["task_prompts"].path / TRAIN_FILE)
    with pytest.raises(UserError, match=r"no prompts of the skill 'poems' \(there are: formats\)"):
        run(tiny_build, tmp_path / "a", replace(CONFIG, share_by_skill={"poems": 1.0}), prompts)


@pytest.mark.parametrize("shares", [{}, {"formats": 0.0}, {"formats": -1.0, "other": 2.0}, {"formats": float("nan")}])
def test_shares_that_draw_nothing_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="share_by_skill must not be negative, and one must be above 0"):
        replace(CONFIG, share_by_skill=shares)
