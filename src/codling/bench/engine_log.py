"""What the bench of the engine measures: rows of raw values, written down as they come.

A run that was stopped goes on where it was: what an engine of the same build has measured is not measured again.
"""

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, final

from codling.errors import UserError

FILE = "rows.jsonl"


class Key(NamedTuple):
    """What was measured."""

    group: str
    num_threads: int
    size_tokens: int = 0
    """Of the context or the prompt, where there is one."""
    peer: str = ""
    """Who was measured in turn, if anybody."""

    def __str__(self) -> str:
        size = f", {self.size_tokens} tokens" if self.size_tokens else ""
        threads = f"{self.num_threads} thread" + ("s" if self.num_threads > 1 else "")
        return f"{self.group.replace('-', ' ')}{size}, {threads}" + (f", next to {self.peer}" if self.peer else "")


class Row(NamedTuple):
    """All values of one measurement, in the order of the rounds."""

    key: Key
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The median of ours."""
        return float(statistics.median(self.ours))

    @property
    def peer_value(self) -> float:
        """The median of theirs."""
        return float(statistics.median(self.theirs))


@final
class RowLog:
    """The rows of one build of the engine, in a file that also holds those of others."""

    def __init__(self, directory: Path, build: str, say: Callable[[str], None]) -> None:
        """Read what is there. Errors: `UserError` for a file that holds something else."""
        self._path, self._build, self._say = directory / FILE, build, say
        self._rows: dict[Key, Row] = {}
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        for number, line in enumerate(lines, start=1):
            try:
                values = json.loads(line)
                row = Row(Key(*values["key"]), values["unit"], tuple(values["ours"]), tuple(values["theirs"]))
                if values["build"] == build:
                    self._rows[row.key] = row
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{self._path}: line {number} is no row of this bench; remove the file") from None

    @property
    def rows(self) -> list[Row]:
        """All of them, in the order in which they were measured."""
        return list(self._rows.values())

    def lacks(self, *keys: Key) -> bool:
        """Whether one of these is still to be measured."""
        return any(key not in self._rows for key in keys)

    def measure(self, key: Key, unit: str, measure: Callable[[], Sequence[tuple[float, ...]]]) -> None:
        """Measure what is not there yet: values of our side, and of the peer if there is one."""
        if key in self._rows:
            return
        row = Row(key, unit, *measure())
        self._rows[key] = row
        with self._path.open("a", encoding="utf-8") as file:
            print(json.dumps({"build": self._build, **row._asdict()}), file=file)
        against = f", theirs {row.peer_value:,.4g}" if row.theirs else ""
        self._say(f"{key}: {row.value:,.4g}{against} {unit}")


def build_id(module: Path) -> str:
    """Names a build of the engine by the bytes of its compiled module."""
    return hashlib.sha256(module.read_bytes()).hexdigest()[:12]


def in_turn(num_rounds: int, *sides: Callable[[], float]) -> list[tuple[float, ...]]:
    """The values of each side. Each round begins with another side: a busy moment of the machine strikes all alike."""
    values: list[list[float]] = [[] for _ in sides]
    for number in range(num_rounds):
        for place in range(len(sides)):
            side = (number + place) % len(sides)
            values[side].append(sides[side]())
    return [tuple(of_side) for of_side in values]


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
