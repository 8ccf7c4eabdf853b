"""A committee comes back as it was written, weights and all, and costs no second copy of them."""

from pathlib import Path

import jax
import numpy as np
import pytest

from codling.artifact.hf import WEIGHTS_FILE
from codling.artifact.model_files import save_model
from codling.artifact.stage import Artifact
from codling.committee.committee import (
    COMMITTEE_FILE,
    Candidate,
    Committee,
    Method,
    SkillScore,
    best_model,
    lineage_name,
    link_or_copy,
    load_committee,
    member_path,
    open_members,
    save_committee,
)
from codling.errors import UserError
from tests.committee.made_committee import leave_committee, leave_model, scaled, stand
from tests.conftest import Pair

SKILLS = {
    "arithmetic": SkillScore(reward=0.7, correct=0.5, num_prompts=4),
    "talk": SkillScore(reward=0.1, num_prompts=2),
}
COMMITTEE = Committee(
    side="device",
    round=1,
    candidates=(
        stand("device_sft", side="device", score=0.1, elected_in=(0,)),
        stand("rs", Method.RS, side="device", round=1, score=0.4, elected_in=(1,), parents=("device_sft",)),
        stand(
            "dpo", Method.DPO, side="device", round=1, score=0.6, elected_in=(1,), teachers=("a", "b"), skills=SKILLS
        ),
        stand("teacher", score=0.8, elected_in=(0, 1)),
    ),
)
FACTORS = {"rs": 0.5, "dpo": 2.0, "teacher": 1.5}


@pytest.fixture(scope="module")
def models(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    store = tmp_path_factory.mktemp("models")
    return {name: leave_model(store, pair, name, factor) for name, factor in FACTORS.items()}


@pytest.fixture(scope="module")
def artifact(models: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return leave_committee(tmp_path_factory.mktemp("committee"), COMMITTEE, models)


def test_it_reads_back_the_same_with_the_members_weights(pair: Pair, artifact: Artifact) -> None:
    assert load_committee(artifact.path) == COMMITTEE
    opened = open_members(artifact.path)
    assert [member.about.name for member in opened] == ["teacher", "dpo", "rs"]
    for member in opened:
        expected = scaled(pair.model, FACTORS[member.about.name])
        jax.tree.map(np.testing.assert_array_equal, member.model, expected)


def test_members_files_are_the_models_own(models: dict[str, Artifact], artifact: Artifact) -> None:
    for name, model in models.items():
        assert (member_path(artifact.path, name) / WEIGHTS_FILE).samefile(model.path / WEIGHTS_FILE)


def test_what_has_no_weights_is_remembered_only(artifact: Artifact) -> None:
    assert not member_path(artifact.path, "device_sft").exists()
    assert "device_sft" in {candidate.name for candidate in load_committee(artifact.path).candidates}


def test_the_best_is_of_the_own_side_whoever_teaches(models: dict[str, Artifact], artifact: Artifact) -> None:
    assert COMMITTEE.best.name == "dpo"
    assert best_model(artifact) == member_path(artifact.path, "dpo")
    assert lineage_name(artifact) == "dpo"
    assert best_model(models["rs"]) == models["rs"].path
    assert lineage_name(models["rs"]) == "rs"


def test_of_equal_members_the_earlier_one_is_first() -> None:
    equal = [stand(name, score=0.5, elected_in=(0,)) for name in ("b", "a", "c")]
    assert [one.name for one in Committee(side="server", round=0, candidates=tuple(equal)).members] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("candidates", "problem"),
    [
        ((stand("a", elected_in=(0,)), stand("b"), stand("b")), "'b' is a candidate twice"),
        ((stand("a", side="device", elected_in=(0,)), stand("b")), "no member is of the server's side"),
        ((), "no member is of the server's side"),
    ],
)
def test_a_committee_that_cannot_be_is_refused(candidates: tuple[Candidate, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Committee(side="server", round=0, candidates=candidates)


def test_a_damaged_file_is_named(artifact: Artifact, tmp_path: Path) -> None:
    text = (artifact.path / COMMITTEE_FILE).read_text()
    (tmp_path / COMMITTEE_FILE).write_text(text.replace('"dpo"', '"dpq"'))
    with pytest.raises(UserError, match=r"committee\.json"):
        load_committee(tmp_path)
    with pytest.raises(UserError, match=r"absent.committee\.json"):
        load_committee(tmp_path / "absent")


def test_members_of_different_tokenizers_are_refused(pair: Pair, models: dict[str, Artifact], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    save_model(tmp_path / "other", pair.model, tokenizer_sha256="0" * 64)
    paths = {name: model.path for name, model in models.items()} | {"rs": tmp_path / "other"}
    save_committee(tmp_path, COMMITTEE, paths)
    with pytest.raises(UserError, match="trained with different tokenizers"):
        open_members(tmp_path)


def test_without_hard_links_the_bytes_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"weights")
    target.write_bytes(b"older")
    link_or_copy(source, target)
    assert target.read_bytes() == b"weights"
    assert not target.samefile(source)
