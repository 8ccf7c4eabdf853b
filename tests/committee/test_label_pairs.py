"""The stage: the same artifact whatever the order of arrival and however often it was killed; nothing lost."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import pytest
from jaxtyping import PRNGKeyArray

from codling.artifact.manifest import file_sha256
from codling.artifact.stage import Artifact, Inputs, Stage, run_stage
from codling.artifact.workspace import SilentReporter, Workspace
from codling.committee import label_pairs as module
from codling.committee.candidates import PAIRS_FILE, CandidatePair, write_candidates
from codling.committee.label_by_checks import ChecksConfig
from codling.committee.label_by_judge import JudgeConfig
from codling.committee.label_file import LabelFileConfig
from codling.committee.label_pairs import LABELS_FILE, SET_ASIDE_FILE, LabelPairsConfig, run_label_pairs
from codling.config import config, from_dict, to_dict
from codling.errors import UserError
from codling.posttrain.preferences import read_preferences
from tests.committee.judge_server import Asked, Reply, fair, judge_server, verdict
from tests.committee.made_pairs import make_pair

PAIRS = [
    make_pair("8", "7"),
    make_pair("7", "a call", check=None, skill="talk"),
    make_pair("5", "6"),
    make_pair("7", "9"),
    make_pair("9", "7"),
]
"""By checks: the second; no check; a tie; the first; the same once more, its answers swapped."""


@config
class Nothing:
    """The configuration of a stage without choices."""


class Reporter(SilentReporter):
    """Notes what is said, and can be told to end the work after some results."""

    def __init__(self, kill_after: int | None = None) -> None:
        self.warnings: list[str] = []
        self.updates: list[int] = []
        self.begun: tuple[int, int] | None = None
        self.kill_after = kill_after

    def progress(self, name: str, total: int, start: int) -> Any:
        self.begun = (total, start)
        return self

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, done: int, **figures: float) -> None:
        self.updates.append(done)
        if len(self.updates) == self.kill_after:
            raise KeyboardInterrupt

    def warn(self, name: str, message: str) -> None:
        self.warnings.append(message)


def run(
    store: Path, labeler: Any, pairs: Sequence[CandidatePair] = PAIRS, reporter: SilentReporter | None = None
) -> Artifact:
    def write(config: Nothing, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
        write_candidates(out.path / PAIRS_FILE, pairs)
        return {}

    before = run_stage(Stage("pairs", "pairs", 1, Nothing(), {}, write), {}, store, 0, SilentReporter())
    stage = Stage("label", "labels", 1, LabelPairsConfig(labeler=labeler), {"pairs": "pairs"}, run_label_pairs)
    return run_stage(stage, {"pairs": before}, store, 0, reporter or SilentReporter())


def aside(artifact: Artifact) -> list[tuple[str, str]]:
    lines = (artifact.path / SET_ASIDE_FILE).read_text().splitlines()
    return [(line["id"], line["reason"]) for line in map(json.loads, lines)]


def test_labels_by_checks(tmp_path: Path) -> None:
    artifact = run(tmp_path, ChecksConfig())
    labels = read_preferences(artifact.path / LABELS_FILE)
    assert [pair.id for pair in labels] == [PAIRS[0].id, PAIRS[3].id]
    assert [pair.chosen.content for pair in labels] == ["7", "7"]
    assert {pair.labeler for pair in labels} == {"rule: checks"}
    assert {pair.source for pair in labels} == {"test; answers by sft and dpo"}
    assert {pair.license for pair in labels} == {"CC0-1.0"}
    assert aside(artifact) == [
        (PAIRS[1].id, "the prompt has no check"),
        (PAIRS[2].id, "neither answer is better"),
        (PAIRS[4].id, "the same pair stands before it"),
    ]
    assert artifact.manifest.metrics == {
        "labeler": "rule: checks",
        "num_pairs": 5,
        "num_labeled": 2,
        "num_by_level": {"significantly_better": 2, "better": 0, "slightly_better": 0, "negligibly_better": 0},
        "num_set_aside": {
            "neither answer is better": 1,
            "the prompt has no check": 1,
            "the same pair stands before it": 1,
        },
        "by_skill": {"arithmetic": {"num_pairs": 4, "num_labeled": 2}, "talk": {"num_pairs": 1, "num_labeled": 0}},
    }
    assert sorted(path.name for path in artifact.path.iterdir()) == [
        LABELS_FILE, "manifest.json", SET_ASIDE_FILE, "started.json",
    ]  # fmt: skip


JUDGED = [make_pair("x" * 2, f"x {n}", check=None) if n % 2 else make_pair(f"{n}", "x", check=None) for n in range(6)]


def judge(url: str, **changes: Any) -> JudgeConfig:
    quick = {"timeout_s": 5.0, "first_wait_s": 0.001, "max_tries": 2, "num_parallel": 1}
    return JudgeConfig(base_url=url, model="m", **{**quick, **changes})


@pytest.mark.parametrize("kill_after", [1, 3, 6])
def test_killed_it_goes_on_and_does_not_ask_again(tmp_path: Path, kill_after: int) -> None:
    with judge_server(fair) as server:
        whole = run(tmp_path / "whole", judge(server.url), JUDGED)
        num_whole = len(server.asked)
        assert num_whole == 2 * len(JUDGED)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", judge(server.url), JUDGED, Reporter(kill_after))
        num_before = len(server.asked) - num_whole
        reporter = Reporter()
        killed = run(tmp_path / "killed", judge(server.url), JUDGED, reporter)
        num_after = len(server.asked) - num_whole - num_before
    assert reporter.begun == (6, kill_after)
    assert reporter.updates == list(range(kill_after + 1, 7))
    assert num_after == 2 * (6 - kill_after)
    assert killed.manifest.files_sha256 == whole.manifest.files_sha256
    assert killed.manifest.metrics == whole.manifest.metrics


def test_the_order_of_arrival_leaves_no_trace(tmp_path: Path) -> None:
    with judge_server(fair) as server:
        first = run(tmp_path / "a", judge(server.url), JUDGED)
        second = run(tmp_path / "b", judge(server.url, num_parallel=6), JUDGED)
    for name in (LABELS_FILE, SET_ASIDE_FILE):
        assert file_sha256(first.path / name) == file_sha256(second.path / name)


def test_failures_of_the_judge_are_counted_and_told(tmp_path: Path) -> None:
    def play(asked: Asked) -> Reply:
        return Reply("hm") if asked.shown["answer A"] in ("2", "x") and "2" in str(asked.shown) else fair(asked)

    reporter = Reporter()
    with judge_server(play) as server:
        artifact = run(tmp_path, judge(server.url), JUDGED, reporter)
    assert artifact.manifest.metrics["num_set_aside"] == {"the judge did not answer in the form asked for": 1}
    assert aside(artifact) == [(JUDGED[2].id, "the judge did not answer in the form asked for")]
    assert reporter.warnings == ["1 of 6 pairs set aside (1: the judge did not answer in the form asked for)"]


def test_a_judge_that_breaks_down_is_asked_again_by_the_next_run(tmp_path: Path) -> None:
    is_well = [False]
    with judge_server(lambda asked: fair(asked) if is_well[0] or asked.number < 4 else Reply("", 503)) as server:
        config = judge(server.url, max_failures_in_a_row=2)
        with pytest.raises(UserError, match="2 pairs in a row without an answer"):
            run(tmp_path, config, JUDGED)
        is_well[0] = True
        num_before = len(server.asked)
        artifact = run(tmp_path, config, JUDGED)
    assert artifact.manifest.metrics["num_labeled"] == 6
    assert len(server.asked) - num_before == 8


def test_nothing_labeled_is_an_error_and_the_next_run_asks_anew(tmp_path: Path) -> None:
    says = ["tie"]
    with judge_server(lambda asked: fair(asked) if says[0] == "fair" else verdict("tie")) as server:
        with pytest.raises(UserError, match=r"^label: all 6 pairs were set aside \(6: neither answer is better\)"):
            run(tmp_path, judge(server.url), JUDGED)
        says[0] = "fair"
        assert run(tmp_path, judge(server.url), JUDGED).manifest.metrics["num_labeled"] == 6


def test_people_are_waited_for(tmp_path: Path) -> None:
    people = LabelFileConfig(path=tmp_path / "people.jsonl")
    with pytest.raises(UserError, match=r"people\.jsonl: waiting for this file"):
        run(tmp_path / "store", people, PAIRS[:2])
    (to_label,) = (tmp_path / "store").glob("*/to_label.jsonl")
    ids = [json.loads(line)["id"] for line in to_label.read_text().splitlines()]
    lines: list[dict[str, Any]] = [
        {"id": ids[0], "better": 1, "level": "better", "labeler": "Ann"},
        {"id": ids[1], "tie": True},
    ]
    people.path.write_text(json.dumps(lines[0]) + "\n")
    with pytest.raises(UserError, match="no label for 1 of the 2 pairs"):
        run(tmp_path / "store", people, PAIRS[:2])
    people.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    artifact = run(tmp_path / "store", people, PAIRS[:2])
    (label,) = read_preferences(artifact.path / LABELS_FILE)
    assert (label.id, label.better, label.labeler) == (ids[0], 1, "Ann")
    assert artifact.manifest.metrics["num_set_aside"] == {"neither answer is better": 1}


def test_of_several_processes_one_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_lead", lambda: False)
    out = Workspace("label", tmp_path, SilentReporter())
    assert run_label_pairs(LabelPairsConfig(), {}, out, jax.random.key(0)) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "labeler",
    [
        ChecksConfig(),
        JudgeConfig(base_url="http://localhost/v1", model="m", api_key_env="KEY"),
        LabelFileConfig(path=Path("people.jsonl")),
    ],
)
def test_configurations_are_read_as_they_were_written(labeler: Any) -> None:
    config = LabelPairsConfig(labeler=labeler)
    assert from_dict(LabelPairsConfig, to_dict(config), source="x") == config


@pytest.mark.parametrize(
    ("labeler", "problem"),
    [
        ({"kind": "oracle"}, "'oracle' found using 'kind'.*'checks', 'judge', 'people'"),
        ({"kind": "judge", "model": "m"}, r"key 'labeler\.judge\.base_url' is missing"),
        ({"kind": "people"}, r"key 'labeler\.people\.path' is missing"),
    ],
)
def test_bad_configurations_are_named(labeler: dict[str, str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        from_dict(LabelPairsConfig, {"labeler": labeler}, source="x")
