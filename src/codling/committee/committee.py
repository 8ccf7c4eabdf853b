"""The committee as an artifact: models with how each was trained and how it scores; the elected ones with weights.

    committee artifact:  committee.json, members/<name>/ (config.json, model.safetensors)

`committee.json` knows every model that was ever a candidate, so that the family tree of the last committee is whole.
Members' files are hard links where the file system has them: a committee costs next to no room.
"""

import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from codling.artifact.hf import CONFIG_FILE, WEIGHTS_FILE, read_json, write_json
from codling.artifact.model_files import load_model, tokenizer_of
from codling.artifact.stage import Artifact
from codling.config import config, from_dict, to_dict
from codling.errors import UserError
from codling.model.transformer import Transformer

COMMITTEE_FILE, MEMBERS_DIRECTORY = "committee.json", "members"


class Method(StrEnum):
    """How a model of the committee was trained."""

    SFT = "sft"
    RS = "rs"
    DPO = "dpo"
    IPO = "ipo"
    MDLOO = "mdloo"


FAMILIES = ((Method.SFT,), (Method.RS,), (Method.DPO, Method.IPO), (Method.MDLOO,))
"""Of each family the best of a round's new models is a candidate for the committee (arXiv 2407.21075 section 4.2)."""


@config
class SkillScore:
    """How a model answers the validation prompts of one skill, greedily."""

    reward: float
    """Mean of what its answers earn: checks and reward model, by weight."""
    correct: float | None = None
    """Share of the checked answers whose check holds; none: no prompt has a check."""
    num_prompts: int


@config
class Candidate:
    """One model that stood for election."""

    name: str
    """The stage that trained it."""
    method: Method
    side: str
    """Server or device: models of one side have one shape."""
    round: int
    """0: it was there before the first round."""
    model_id: str
    """The artifact that it is."""
    parents: tuple[str, ...] = ()
    """The candidate whose weights it started from."""
    teachers: tuple[str, ...] = ()
    """The candidates whose answers it learned from."""
    score: float
    """Mean reward over the skills in the newest election that it stood for."""
    skills: dict[str, SkillScore]
    elected_in: tuple[int, ...] = ()
    """The rounds after which it was in the committee."""


@config
class Committee:
    """All candidates so far, and the round that was elected after."""

    side: str
    round: int
    candidates: tuple[Candidate, ...]

    def __post_init__(self) -> None:
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError(f"'{max(names, key=names.count)}' is a candidate twice")
        if not any(candidate.side == self.side for candidate in self.members):
            raise ValueError(f"no member is of the {self.side}'s side")

    @property
    def members(self) -> tuple[Candidate, ...]:
        """The elected ones, the best first."""
        elected = [candidate for candidate in self.candidates if self.round in candidate.elected_in]
        return tuple(sorted(elected, key=lambda candidate: -candidate.score))

    @property
    def best(self) -> Candidate:
        """The best member of the committee's own side: what the side's next models start from, and what is shipped."""
        return next(member for member in self.members if member.side == self.side)


class Member(NamedTuple):
    """A member, opened."""

    about: Candidate
    model: Transformer


def save_committee(directory: Path, committee: Committee, models: dict[str, Path]) -> None:
    """Write the committee; `models` are the directories of at least all members, by name."""
    for member in committee.members:
        target = directory / MEMBERS_DIRECTORY / member.name
        target.mkdir(parents=True, exist_ok=True)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            link_or_copy(models[member.name] / name, target / name)
    write_json(directory / COMMITTEE_FILE, to_dict(committee))


def load_committee(directory: Path) -> Committee:
    """Read who is in a committee. Errors: `UserError` for a file that is missing or damaged."""
    path = directory / COMMITTEE_FILE
    return from_dict(Committee, read_json(path), source=str(path))


def member_path(directory: Path, name: str) -> Path:
    """Where a member's files are."""
    return directory / MEMBERS_DIRECTORY / name


def open_members(directory: Path) -> list[Member]:
    """All members with their weights, the best first. Errors: `UserError` where one is missing, or their tokenizers
    differ: they answer the same tokens.
    """
    committee = load_committee(directory)
    paths = {member.name: member_path(directory, member.name) for member in committee.members}
    if len({tokenizer_of(path) for path in paths.values()}) > 1:
        raise UserError(f"{directory}: the members were trained with different tokenizers")
    return [Member(member, load_model(paths[member.name])) for member in committee.members]


def best_model(artifact: Artifact) -> Path:
    """Where the model is that a stage starts from: the artifact's own, or the best of its side of a committee."""
    if artifact.manifest.kind != "committee":
        return artifact.path
    return member_path(artifact.path, load_committee(artifact.path).best.name)


def lineage_name(artifact: Artifact) -> str:
    """The candidate that an artifact is, or the best of its side of a committee: what a family tree calls it."""
    if artifact.manifest.kind != "committee":
        return artifact.manifest.stage
    return load_committee(artifact.path).best.name


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes, or a copy of them."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
