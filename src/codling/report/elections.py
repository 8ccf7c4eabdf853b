"""Who stood for a committee, how well it did and who was elected: what every round of a side ended in."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from codling.artifact.stage import Inputs
from codling.committee.committee import Candidate, Committee, Method, load_committee
from codling.report.rounds import num_rounds, stage_name
from codling.report.titles import METHODS


class Standing(NamedTuple):
    """A candidate in one election: its scores are of that election."""

    candidate: Candidate
    label: str
    started_from: str
    """The labels of its parents; empty for a model that was there before."""
    change: float | None
    """Its score less that of the best member before, on the same prompts and by the same rewards; None for that one."""
    is_elected: bool
    is_best: bool
    """Of its side: what the next round starts from, or what is shipped."""


class Election(NamedTuple):
    """The end of a round."""

    round: int
    standings: tuple[Standing, ...]
    """The best first."""
    skills: tuple[str, ...]
    num_prompts: int
    """To be elected by, of all skills together."""


def committees(inputs: Inputs, side: str) -> list[Committee]:
    """A side's committees, from that before the first round on; the last one knows all candidates."""
    names = [stage_name(side, number, "committee") for number in range(num_rounds(inputs, side) + 1)]
    return [load_committee(inputs[name].path) for name in names if name in inputs]


def guests_of(committee: Committee) -> list[Candidate]:
    """Candidates of the other side that were ever members: they teach, and have another shape."""
    return [one for one in committee.candidates if one.side != committee.side and one.elected_in]


def elections(found: Sequence[Committee]) -> list[Election]:
    """What each round ended in. Before the first one nobody is elected: the fine-tuned model is all there is."""
    return [_election(before, after) for before, after in pairwise(found)]


def _election(before: Committee, after: Committee) -> Election:
    """Newcomers stood, and the members so far; of all others the committee only remembers."""
    known = {one.name for one in before.candidates}
    members = {one.name for one in before.members}
    stood = [one for one in after.candidates if one.name in members or one.name not in known]
    labels = {one.name: label(one, after.side) for one in after.candidates}
    reference = next(one for one in stood if one.name == before.best.name)
    standings = tuple(
        Standing(
            candidate=one,
            label=labels[one.name],
            started_from=" and ".join(labels.get(parent, parent) for parent in one.parents if one.name not in known),
            change=None if one is reference else one.score - reference.score,
            is_elected=after.round in one.elected_in,
            is_best=one.name == after.best.name,
        )
        for one in sorted(stood, key=lambda one: -one.score)
    )
    return Election(
        round=after.round,
        standings=standings,
        skills=tuple(dict.fromkeys(skill for one in stood for skill in one.skills)),
        num_prompts=sum(score.num_prompts for score in reference.skills.values()),
    )


def label(candidate: Candidate, side: str) -> str:
    """What the page calls a candidate of a side's committee; one of the other side says so."""
    name = METHODS[candidate.method.value]
    if candidate.method is not Method.SFT:
        name = f"{name}, round {candidate.round}"
    return name if candidate.side == side else f"{candidate.side.capitalize()} {name}"
