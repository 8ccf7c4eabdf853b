"""The stages of alignment by their names: `server_round2_pairs` is a part of the server's second round.

`server_aligned` is what came of all of them: the best member of the last committee.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

SIDES = ("server", "device")
"""The two models of the pair."""

_NAME = re.compile(r"(server|device)_round(\d+)_(\w+)")


class RoundStage(NamedTuple):
    """What the name of a round's stage says."""

    side: str
    round: int
    """0: before the first round."""
    part: str


def round_stage(name: str) -> RoundStage | None:
    """Take a name apart; None for a stage that is part of no round."""
    found = _NAME.fullmatch(name)
    return None if found is None else RoundStage(found[1], int(found[2]), found[3])


def aligned_side(name: str) -> str | None:
    """The side that a stage aligns; None for one that is no part of alignment."""
    stage = round_stage(name)
    if stage is not None:
        return stage.side
    return next((side for side in SIDES if name == f"{side}_aligned"), None)


def stage_name(side: str, round: int, part: str) -> str:
    """The name that `round_stage` takes apart."""
    return f"{side}_round{round}_{part}"


def num_rounds(names: Iterable[str], side: str) -> int:
    """Rounds that a side went through; 0 where it was not aligned."""
    parts = [stage for name in names if (stage := round_stage(name)) is not None]
    return max((stage.round for stage in parts if stage.side == side and stage.part == "committee"), default=0)
