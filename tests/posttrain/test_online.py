"""Online training earns more, keeps near its reference, resumes exactly, and stops where it would learn nonsense."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jaxtyping import PRNGKeyArray

from codling.artifact.workspace import SilentReporter, Workspace
from codling.errors import UserError
from codling.model.transformer import Transformer
from codling.posttrain import online
from codling.posttrain.objective import GrpoConfig, MdlooConfig, Objective, PpoConfig, ReinforceConfig
from codling.posttrain.online import IterationRecord, OnlineConfig, train_online
from codling.posttrain.rollout import RolloutConfig, Rollouts, roll_out
from codling.posttrain.task import Task, TaskScores
from codling.train.adamw import AdamWConfig
from codling.train.metrics import read_metrics
from codling.train.optimizer import OptimizerConfig
from codling.train.schedule import ScheduleConfig
from tests.conftest import Pair

LOW_IDS = 300
CONFIG = OnlineConfig(
    num_iterations=12,
    num_prompts=8,
    rollout=RolloutConfig(num_answers=4, max_answer_tokens=6, batch_size_prompts=8),
    optimizer=OptimizerConfig(
        schedule=ScheduleConfig(peak_rate=0.05, warmup_steps=1, final_fraction=1.0), rule=AdamWConfig()
    ),
    batch_size_prompts=4,
    save_every_iterations=2,
)


class LowIds(Task):
    """Rewards tokens of low ids: anything can learn that, and nothing else is learned."""

    def __init__(self, prompts: Sequence[Sequence[int]] = ((5, 6, 7), (8, 9), (10, 11, 12, 13))) -> None:
        self.prompts = [list(prompt) for prompt in prompts]

    def choose(self, count: int, key: PRNGKeyArray) -> list[int]:
        return [place % len(self.prompts) for place in range(count)]

    def score(self, places: Sequence[int], answers: Sequence[Sequence[int]]) -> TaskScores:
        rewards = np.asarray([np.mean(np.asarray(answer) < LOW_IDS) for answer in answers])
        return TaskScores(rewards, {"low": rewards})


@pytest.fixture(scope="module")
def policy(pair: Pair) -> Transformer:
    """Its answers vary: the untrained weights of the shared model are large."""
    return scaled(pair.model, 0.3)


def scaled(model: Transformer, factor: float) -> Transformer:
    found: Transformer = jax.tree.map(lambda leaf: leaf * factor, model)
    return found


def run(
    policy: Transformer, path: Path, config: OnlineConfig = CONFIG, task: Task | None = None, stop_after: int = 99
) -> list[IterationRecord]:
    path.mkdir(exist_ok=True)
    workspace = Workspace("rl", path, SilentReporter())
    records = []
    for record in train_online(config, policy, task or LowIds(), workspace, jax.random.key(0)):
        records.append(record)
        if record.iteration == stop_after:
            break
    return records


@pytest.fixture(scope="module")
def undisturbed(policy: Transformer, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[IterationRecord], Path]:
    path = tmp_path_factory.mktemp("undisturbed") / "rl"
    return run(policy, path), path


def test_rewards_rise_and_everything_that_matters_is_logged(
    undisturbed: tuple[list[IterationRecord], Path],
) -> None:
    records, path = undisturbed
    logged = read_metrics(path)
    assert [record["step"] for record in logged] == list(range(1, 13))
    assert logged[-1]["reward"] > logged[0]["reward"] + 0.1
    assert logged[0]["kl_to_reference_sampled"] == pytest.approx(0.0, abs=1e-6)
    assert logged[-1]["kl_to_reference_sampled"] > 0.01
    wanted = {"reward", "reward_low", "kl_to_sampler", "kl_to_reference", "advantage_std", "answer_tokens", "cut_off"}
    assert wanted | {"entropy", "disagreement", "gradient_norm", "groups_without_advantage"} <= set(logged[0])
    assert max(record["disagreement"] for record in logged) < 1e-4
    assert all(np.isfinite(list(record.values())).all() for record in logged)
    assert records[-1].figures["reward"] == logged[-1]["reward"]
    assert min(records[-1].durations) > 0.0


def test_interrupted_it_goes_on_to_the_same_weights(
    policy: Transformer, undisturbed: tuple[list[IterationRecord], Path], tmp_path: Path
) -> None:
    run(policy, tmp_path / "rl", stop_after=3)  # one iteration beyond the checkpoint
    resumed = run(policy, tmp_path / "rl")
    assert [record.iteration for record in resumed] == list(range(3, 13))
    for own, other in zip(jax.tree.leaves(resumed[-1].params), jax.tree.leaves(undisturbed[0][-1].params), strict=True):
        np.testing.assert_array_equal(own, other)
    lines = [(path / "metrics.jsonl").read_text() for path in (tmp_path / "rl", undisturbed[1])]
    assert [json.loads(line) for line in lines[0].splitlines()] == [json.loads(line) for line in lines[1].splitlines()]
    assert [record.iteration for record in run(policy, tmp_path / "rl")] == [12]


@pytest.mark.parametrize("objective", [ReinforceConfig(), PpoConfig(), GrpoConfig()], ids=lambda one: one.name)
def test_the_others_learn_too(policy: Transformer, tmp_path: Path, objective: Objective) -> None:
    epochs = 1 if isinstance(objective, ReinforceConfig) else 2
    records = run(policy, tmp_path / "rl", replace(CONFIG, objective=objective, num_epochs=epochs, num_iterations=10))
    rewards = [record.figures["reward"] for record in records]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3])


def test_a_high_price_keeps_the_policy_where_it_samples(policy: Transformer, tmp_path: Path) -> None:
    near, far = (
        run(policy, tmp_path / str(gamma), replace(CONFIG, num_iterations=2, objective=MdlooConfig(gamma=gamma)))
        for gamma in (50.0, 0.0)
    )
    assert near[-1].figures["kl_to_sampler"] < far[-1].figures["kl_to_sampler"]


def test_equal_rewards_teach_nothing(policy: Transformer, tmp_path: Path) -> None:
    class Indifferent(LowIds):
        def score(self, places: Sequence[int], answers: Sequence[Sequence[int]]) -> TaskScores:
            return TaskScores(np.ones(len(answers)), {})

    config = replace(
        CONFIG,
        num_iterations=1,
        beta=0.0,
        optimizer=replace(CONFIG.optimizer, weight_decay=0.0),
        objective=MdlooConfig(gamma=0.0),
    )
    (record,) = run(policy, tmp_path / "rl", config, Indifferent())
    assert record.figures["advantage_std"] == 0.0
    assert record.figures["groups_without_advantage"] == 1.0
    assert record.figures["gradient_norm"] == 0.0


def test_a_sampler_of_another_policy_stops_the_run(
    policy: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(config: RolloutConfig, model: Transformer, *rest: Any) -> Rollouts:
        return roll_out(config, scaled(model, 1.01), *rest)

    monkeypatch.setattr(online, "roll_out", other)
    with pytest.raises(UserError, match=r"^rl: sampler and trainer disagree by .* nothing was updated$"):
        run(policy, tmp_path / "rl")


def test_a_prompt_that_fills_the_context_is_refused(policy: Transformer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="prompt 0 has 91 tokens"):
        run(policy, tmp_path / "rl", task=LowIds([[1] * 91]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size_prompts": 3}, "batch_size_prompts 3 does not divide the 8 prompts of an iteration"),
        ({"rollout": RolloutConfig(num_answers=1)}, "rollout.num_answers must be >= 2"),
        ({"num_epochs": 0}, "must be >= 1"),
    ],
)
def test_bad_configurations_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)
