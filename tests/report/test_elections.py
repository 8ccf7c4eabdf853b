from dataclasses import replace
from pathlib import Path

import pytest

from codling.artifact.stage import Artifact
from codling.committee.committee import Candidate, Method, load_committee
from codling.report.elections import committees, elections, guests_of, label
from tests.report.sample_rounds import add_rounds


def test_the_new_models_and_the_members_stand_and_nobody_else(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 2, 0)
    first, second = elections(committees(inputs, "server"))
    assert [standing.label for standing in first.standings] == ["MDLOO, round 1", "RS, round 1", "DPO, round 1", "SFT"]
    # DPO of the first round was not elected: the second election is not about it.
    assert {standing.label for standing in second.standings} == {
        "MDLOO, round 2", "RS, round 2", "DPO, round 2", "MDLOO, round 1", "RS, round 1", "DPO, round 1",
    }  # fmt: skip
    assert (first.round, second.round) == (1, 2)
    assert first.skills == ("arithmetic", "formats")
    assert first.num_prompts == 200


def test_scores_are_those_of_each_election_and_compare_within_it(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 2, 0)
    first, second = elections(committees(inputs, "server"))
    best_of_first = next(standing for standing in first.standings if standing.is_best)
    same_later = next(standing for standing in second.standings if standing.label == best_of_first.label)
    assert same_later.candidate.score == pytest.approx(best_of_first.candidate.score + 0.001)
    assert same_later.change is None
    for standing in second.standings:
        if standing is not same_later:
            assert standing.change == pytest.approx(standing.candidate.score - same_later.candidate.score)


def test_who_was_elected_is_what_the_committee_says(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 2, 1)
    for side, count in (("server", 2), ("device", 1)):
        for number, election in enumerate(elections(committees(inputs, side)), start=1):
            committee = load_committee(inputs[f"{side}_round{number}_committee"].path)
            elected = {standing.candidate.name for standing in election.standings if standing.is_elected}
            assert elected == {member.name for member in committee.members}
            (best,) = (standing.candidate for standing in election.standings if standing.is_best)
            assert best.name == committee.best.name
            assert best.side == side
        assert number == count


def test_a_model_started_from_another_or_was_there_before(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 2, 0)
    _, second = elections(committees(inputs, "server"))
    started = {standing.label: standing.started_from for standing in second.standings}
    assert started["RS, round 2"] == "MDLOO, round 1"
    assert started["MDLOO, round 2"] == "RS, round 2"
    assert started["MDLOO, round 1"] == ""


def test_models_of_the_other_side_are_guests_and_named_so(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 1, 1)
    last = committees(inputs, "device")[-1]
    guests = {label(one, "device") for one in guests_of(last)}
    # All three members of the server's committee sit in the device's first; SFT was none of them.
    assert guests == {"Server MDLOO, round 1", "Server RS, round 1", "Server DPO, round 1"}
    assert "server_sft" in {one.name for one in last.candidates}
    assert guests_of(committees(inputs, "server")[-1]) == []


@pytest.mark.parametrize(
    ("method", "side", "text"),
    [
        (Method.SFT, "server", "SFT"),
        (Method.IPO, "server", "IPO, round 3"),
        (Method.RS, "device", "Device RS, round 3"),
    ],
)
def test_labels_are_short(method: Method, side: str, text: str) -> None:
    one = Candidate(name="x", method=method, side=side, round=3, model_id="x", score=0.0, skills={})
    assert label(one, "server") == text
    assert label(replace(one, side="server", method=Method.SFT), "server") == "SFT"


def test_a_side_without_rounds_has_no_election(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    assert elections(committees(inputs, "server")) == []
    add_rounds(inputs, tmp_path, 0, 0)
    assert elections(committees(inputs, "server")) == []
