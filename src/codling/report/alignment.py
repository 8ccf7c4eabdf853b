"""What the rounds of alignment left, side by side and round by round, for the page to show."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from codling.artifact.stage import Inputs
from codling.committee.committee import Committee
from codling.posttrain.levels import Level
from codling.report.elections import Election, committees, elections, guests_of, label
from codling.report.family_tree import FamilyTree, family_tree
from codling.report.formats import Verdict
from codling.report.online_curves import OnlineRound, online_rounds, reward_by_iteration_figure, reward_by_kl_figure
from codling.report.retrieval import Share
from codling.report.rounds import SIDES, num_rounds, round_stage, stage_name
from codling.report.skill_scores import skill_title, wilson_interval


class Wins(NamedTuple):
    """Whose answers were the best of a round."""

    round: int
    members: tuple[str, ...]
    by_skill: dict[str, tuple[int, ...]]
    """Title of a skill -> prompts that each member answered best."""
    num_prompts: int
    num_without_good_answer: int
    num_guarded_out: int
    num_demonstrations: int


class Labels(NamedTuple):
    """The preferences of a round."""

    round: int
    labeler: str
    num_pairs: int
    num_labeled: int
    num_by_level: tuple[int, ...]
    """In the order of `Level`."""
    num_set_aside: dict[str, int]
    """By reason."""


class RewardFigures(NamedTuple):
    """The reward model of a round on pairs that it was not trained on."""

    round: int
    num_train_pairs: int
    num_heldout_pairs: int
    before: Share | None
    """Pairs ordered right, before its training; None where too few pairs were held out to measure it."""
    after: Share | None
    by_level: tuple[float | None, ...]
    """After its training, in the order of `Level`."""
    calibration_error: float | None
    by_grading: dict[str, float]
    """Aspect in words -> share of the grades that its head names right."""

    @property
    def verdict(self) -> Verdict | None:
        """What its training did, where the 95% intervals are apart; None where it was not measured on both ends."""
        if self.before is None or self.after is None:
            return None
        if self.after.interval.low > self.before.interval.high:
            return "better"
        return "worse" if self.after.interval.high < self.before.interval.low else "same"


class SideAlignment(NamedTuple):
    """All rounds of a side."""

    side: str
    num_rounds: int
    tree: FamilyTree | None
    """None where there was no round."""
    has_guests: bool
    """Whether models of the other side were members."""
    elections: tuple[Election, ...]
    wins: tuple[Wins, ...]
    labels: tuple[Labels, ...]
    reward_models: tuple[RewardFigures, ...]
    online: tuple[OnlineRound, ...]
    rewards_by_model: bool
    """Whether a reward model, which is another in each round, has a part in what an answer earns."""
    kl_figure: Markup | None
    """None without records of online training."""
    reward_figure: Markup | None


def alignment(inputs: Inputs) -> list[SideAlignment]:
    """Both sides; one that went through no round has nothing but its name."""
    return [_side(inputs, side) for side in SIDES]


def _side(inputs: Inputs, side: str) -> SideAlignment:
    known = committees(inputs, side) if num_rounds(inputs, side) else []
    online = tuple(online_rounds(inputs, side))
    return SideAlignment(
        side=side,
        num_rounds=num_rounds(inputs, side),
        tree=family_tree(known[-1]) if known else None,
        has_guests=bool(known and guests_of(known[-1])),
        elections=tuple(elections(known)),
        wins=tuple(_wins(number, metrics, known[-1]) for number, metrics in _metrics(inputs, side, "best")),
        labels=tuple(_labels(number, metrics) for number, metrics in _metrics(inputs, side, "labels")),
        reward_models=tuple(_reward_figures(number, metrics) for number, metrics in _metrics(inputs, side, "rewards")),
        online=online,
        rewards_by_model=_weighs_reward_model(inputs, side),
        kl_figure=reward_by_kl_figure(online, side),
        reward_figure=reward_by_iteration_figure(online, side),
    )


def _metrics(inputs: Inputs, side: str, part: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The figures of one part of every round that has it."""
    for number in range(1, num_rounds(inputs, side) + 1):
        name = stage_name(side, number, part)
        if name in inputs:
            yield number, inputs[name].manifest.metrics


def _wins(number: int, metrics: Mapping[str, Any], committee: Committee) -> Wins:
    labels = {one.name: label(one, committee.side) for one in committee.candidates}
    members = list(dict.fromkeys(member for counts in metrics["wins"].values() for member in counts))
    return Wins(
        round=number,
        members=tuple(labels.get(member, member) for member in members),
        by_skill={
            skill_title(skill): tuple(counts.get(member, 0) for member in members)
            for skill, counts in metrics["wins"].items()
        },
        num_prompts=metrics["num_prompts"],
        num_without_good_answer=metrics["num_without_good_answer"],
        num_guarded_out=sum(metrics["num_guarded_out"].values()),
        num_demonstrations=metrics["num_demonstrations"],
    )


def _labels(number: int, metrics: Mapping[str, Any]) -> Labels:
    return Labels(
        round=number,
        labeler=metrics["labeler"],
        num_pairs=metrics["num_pairs"],
        num_labeled=metrics["num_labeled"],
        num_by_level=tuple(metrics["num_by_level"].get(level.value, 0) for level in Level),
        num_set_aside=dict(metrics["num_set_aside"]),
    )


def _reward_figures(number: int, metrics: Mapping[str, Any]) -> RewardFigures:
    before, after = (metrics.get(when) for when in ("before", "after"))
    by_level = (after or {}).get("accuracy_by_level", {})
    return RewardFigures(
        round=number,
        num_train_pairs=metrics["num_train_pairs"],
        num_heldout_pairs=metrics["num_heldout_pairs"],
        before=_accuracy(before),
        after=_accuracy(after),
        by_level=tuple(by_level.get(level.value) for level in Level),
        calibration_error=(after or {}).get("calibration_error"),
        by_grading={_in_words(aspect): share for aspect, share in (after or {}).get("grading_accuracy", {}).items()},
    )


def _in_words(class_name: str) -> str:
    return re.sub(r"(?<=.)([A-Z])", r" \1", class_name).lower()


def _accuracy(figures: Mapping[str, Any] | None) -> Share | None:
    if figures is None or not figures["num_pairs"]:
        return None
    share, number = figures["accuracy"], figures["num_pairs"]
    return Share(share, wilson_interval(round(share * number), number))


def _weighs_reward_model(inputs: Inputs, side: str) -> bool:
    stages = [artifact.manifest for name, artifact in inputs.items()
              if (stage := round_stage(name)) is not None and stage.side == side]  # fmt: skip
    weights = [manifest.config.get("rewards", {}).get("reward_model", 0.0) for manifest in stages]
    return any(isinstance(weight, int | float) and weight > 0 for weight in weights)
