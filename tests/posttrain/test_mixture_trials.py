"""Real trials: they are scored as promised, and a search that was killed goes on to the same end."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pytest

from codling.artifact.workspace import Progress, SilentReporter, Workspace
from codling.config import from_dict
from codling.data.json_lines import read_objects
from codling.data.mixture import MixtureWeights
from codling.errors import UserError
from codling.posttrain.mixture_search import MixtureSearchConfig
from codling.posttrain.mixture_trials import MIXTURE_FILE, TRIALS_FILE, MixtureTrialsConfig, run_mixture_search
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild

SFT = replace(tiny().server_sft, loop=replace(tiny().server_sft.loop, num_steps=2), heldout_rows_per_kind=4)
CONFIG = MixtureTrialsConfig(sft=SFT, search=MixtureSearchConfig(num_rounds=1, num_trials=2))
NUM_TRIALS = 4
SKILLS = ("formats", "intents", "story_answers", "tool_calls")


class Killer(SilentReporter):
    """Counts the trainings that begin, and kills the one of a number after its first step."""

    def __init__(self, fatal: int | None = None) -> None:
        self.fatal, self.num_begun = fatal, 0

    @contextlib.contextmanager
    def progress(self, name: str, total: int, start: int) -> Iterator[Progress]:
        self.num_begun += 1
        yield self

    def update(self, done: int, **figures: float) -> None:
        if self.num_begun == self.fatal:
            raise KeyboardInterrupt


def run(build: TinyBuild, path: Path, reporter: SilentReporter, config: MixtureTrialsConfig = CONFIG) -> dict[str, Any]:
    path.mkdir(exist_ok=True)
    inputs = build.inputs(tokens="tokens", model="server_long_context")
    return run_mixture_search(config, inputs, Workspace("search", path, reporter), jax.random.key(0))


@pytest.fixture(scope="module")
def undisturbed(tiny_build: TinyBuild, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("search")
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        return path, run(tiny_build, path, SilentReporter())


def test_a_trial_is_scored_by_the_skills_it_learned(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    path, metrics = undisturbed
    rows = [row for _, row in read_objects(path / TRIALS_FILE)]
    assert [row["trial"] for row in rows] == list(range(NUM_TRIALS))
    for row in rows:
        assert row["score"] == pytest.approx(-sum(row["nll_by_kind"][skill] for skill in SKILLS) / len(SKILLS))
    assert len({row["score"] for row in rows}) > 1
    assert metrics["start_score"] == rows[0]["score"]
    assert metrics["best_score"] == max(rows[0]["score"], rows[-1]["score"])
    best = from_dict(MixtureWeights, json.loads((path / MIXTURE_FILE).read_text()), source=MIXTURE_FILE)
    assert best.share_by_kind == metrics["best_share_by_kind"]
    assert sorted(file.name for file in path.iterdir()) == [MIXTURE_FILE, TRIALS_FILE]


def test_a_killed_search_goes_on_where_it_was_and_ends_the_same(
    tiny_build: TinyBuild, tmp_path: Path, undisturbed: tuple[Path, dict[str, Any]]
) -> None:
    (path, metrics), fatal = undisturbed, 3
    with pytest.raises(KeyboardInterrupt):
        run(tiny_build, tmp_path, Killer(fatal))
    again = Killer()
    assert run(tiny_build, tmp_path, again) == metrics
    assert again.num_begun == NUM_TRIALS - (fatal - 1)
    for name in (MIXTURE_FILE, TRIALS_FILE):
        assert (tmp_path / name).read_bytes() == (path / name).read_bytes()


def test_trials_of_another_search_are_not_taken_for_its_own(
    tiny_build: TinyBuild, tmp_path: Path, undisturbed: tuple[Path, dict[str, Any]]
) -> None:
    (tmp_path / TRIALS_FILE).write_bytes((undisturbed[0] / TRIALS_FILE).read_bytes())
    other = replace(CONFIG, sft=replace(SFT, mixture=MixtureWeights(share_by_kind={"intents": 0.9, "stories": 0.1})))
    with pytest.raises(UserError, match=r"trials.jsonl: trial 0 is of another search"):
        run(tiny_build, tmp_path, SilentReporter(), other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_by_kind": {"poems": 1.0}}, "weight_by_kind names 'poems', of which nothing is held out"),
        (
            {"sft": replace(SFT, mixture=MixtureWeights(share_by_kind={"poems": 1.0}))},
            "mixture names the unknown kind 'poems'",
        ),
        ({"sft": replace(SFT, mixture=MixtureWeights(share_by_kind={"intents": 1.0}))}, "no shares to tune"),
    ],
)
def test_bad_configurations_are_refused_before_anything_is_written(
    tiny_build: TinyBuild, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(tiny_build, tmp_path, SilentReporter(), replace(CONFIG, **change))
    assert not list(tmp_path.iterdir())


def test_weights_that_count_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="weight_by_kind must sum to more than 0"):
        replace(CONFIG, weight_by_kind={"stories": 0.0})
