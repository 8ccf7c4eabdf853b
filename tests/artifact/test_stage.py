"""The stage contract, on a stage that counts how often it ran."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pytest
from jaxtyping import PRNGKeyArray

from codling.artifact.manifest import file_sha256, read_manifest
from codling.artifact.stage import Artifact, Inputs, Stage, load_artifact, run_stage
from codling.artifact.workspace import SilentReporter, Workspace
from codling.config import config
from codling.errors import UserError


@config
class Letters:
    """What the stage writes."""

    text: str = "a"


class Counting:
    """A stage's function that can be killed at its first run."""

    def __init__(self, *, is_killed: bool = False) -> None:
        self.keys: list[PRNGKeyArray] = []
        self.is_killed = is_killed

    def __call__(self, config: Letters, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
        self.keys.append(key)
        (out.path / "checkpoints").mkdir(exist_ok=True)
        (out.path / "checkpoints" / "newest").write_text("half")
        (out.path / "metrics.jsonl").write_text(f"{len(self.keys)}\n")
        if self.is_killed and len(self.keys) == 1:
            raise KeyboardInterrupt
        (out.path / "deep").mkdir(exist_ok=True)
        (out.path / "deep" / "letters.txt").write_text(config.text)
        assert not (out.path / "manifest.json").exists()
        return {"length": len(config.text)}


def stage(run: Counting, **changes: Any) -> Stage:
    return Stage("letters", "text", 1, Letters(), {}, run)._replace(**changes)


def run(store: Path, made: Stage, *, seed: int = 0, inputs: Inputs | None = None) -> Artifact:
    return run_stage(made, inputs or {}, store, seed, SilentReporter())


def test_a_stage_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    counting = Counting()
    first, second = (run(tmp_path, stage(counting)) for _ in range(2))
    assert len(counting.keys) == 1
    assert first == second


def test_a_stage_that_was_killed_goes_on_in_its_directory(tmp_path: Path) -> None:
    counting = Counting(is_killed=True)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stage(counting))
    (directory,) = tmp_path.iterdir()
    started = json.loads((directory / "started.json").read_text())["started"]
    assert not (directory / "manifest.json").exists()
    artifact = run(tmp_path, stage(counting))
    assert artifact.path == directory
    assert artifact.manifest.started == started
    assert bool((counting.keys[0] == counting.keys[1]).all())


def test_undisturbed_and_killed_runs_have_the_same_manifest_but_for_times(tmp_path: Path) -> None:
    killed = Counting(is_killed=True)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", stage(killed))
    manifests = [
        run(tmp_path / "killed", stage(killed)).manifest,
        run(tmp_path / "undisturbed", stage(Counting())).manifest,
    ]
    plain, other = (replace(manifest, started="", wall_time_s=0.0) for manifest in manifests)
    assert plain == other


@pytest.mark.parametrize("name", ["started.json.partial", "manifest.json.partial"])
def test_a_kill_while_a_marker_is_written_does_no_harm(tmp_path: Path, name: str) -> None:
    directory = run(tmp_path / "undisturbed", stage(Counting())).path
    half = tmp_path / "killed" / directory.name
    half.mkdir(parents=True)
    if name.startswith("manifest"):
        (half / "started.json").write_bytes((directory / "started.json").read_bytes())
    (half / name).write_text("{")
    assert run(tmp_path / "killed", stage(Counting())).manifest.files_sha256 == read_manifest(directory).files_sha256


def test_the_manifest_hashes_results_and_nothing_of_how_they_came_about(tmp_path: Path) -> None:
    artifact = run(tmp_path, stage(Counting()))
    assert artifact.manifest.files_sha256 == {
        "deep/letters.txt": file_sha256(artifact.path / "deep" / "letters.txt"),
    }
    assert artifact.manifest.metrics == {"length": 1}


def test_checkpoints_are_deleted_when_the_stage_is_done(tmp_path: Path) -> None:
    artifact = run(tmp_path, stage(Counting()))
    assert not (artifact.path / "checkpoints").exists()


def test_each_change_gets_a_directory_of_its_own(tmp_path: Path) -> None:
    base = run(tmp_path, stage(Counting()))
    other_input = {"text": run(tmp_path, stage(Counting(), name="before"))}
    changed = [
        run(tmp_path, stage(Counting(), config=Letters(text="b"))),
        run(tmp_path, stage(Counting(), version=2)),
        run(tmp_path, stage(Counting()), seed=1),
        run(tmp_path, stage(Counting()), inputs=other_input),
    ]
    assert len({artifact.path for artifact in [base, *changed]}) == 5
    assert changed[-1].manifest.inputs == {"text": other_input["text"].manifest.id}


def test_stages_and_seeds_have_keys_of_their_own(tmp_path: Path) -> None:
    counting = Counting()
    run(tmp_path, stage(counting))
    run(tmp_path, stage(counting, name="others"))
    run(tmp_path, stage(counting), seed=1)
    # The configuration does not change the key: an ablation draws the same numbers.
    run(tmp_path, stage(counting, config=Letters(text="b")))
    first, *others, same = [jax.random.key_data(key).tolist() for key in counting.keys]
    assert first not in others
    assert first == same


@pytest.mark.parametrize("marker", [None, '{"id": "another-stage"}', "{", "[]"])
def test_a_directory_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path, marker: str | None) -> None:
    directory = run(tmp_path / "elsewhere", stage(Counting())).path
    foreign = tmp_path / "store" / directory.name
    foreign.mkdir(parents=True)
    (foreign / "diary.txt").write_text("mine")
    if marker is not None:
        (foreign / "started.json").write_text(marker)
    counting = Counting()
    with pytest.raises(UserError, match="not empty and not begun by this stage"):
        run(tmp_path / "store", stage(counting))
    assert counting.keys == []
    assert (foreign / "diary.txt").read_text() == "mine"


def test_loading_checks_the_kind(tmp_path: Path) -> None:
    directory = run(tmp_path, stage(Counting())).path
    assert load_artifact(directory, "model", "text").path == directory
    assert load_artifact(directory).path == directory
    with pytest.raises(UserError, match="is a text artifact, need model or bundle"):
        load_artifact(directory, "model", "bundle")
