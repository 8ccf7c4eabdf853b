"""The results of an unfinished labeling, kept as they come, so that no judge is asked twice.

    {"id": PAIR ID, "better": 0, "level": "...", ...}   or   {"id": PAIR ID, "set_aside": "..."}        one a line

A working file: it is in the order of arrival, and goes when the stage is done.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from codling.committee.labeler import JUDGE_FAILURES, SetAside, Verdict
from codling.config import config, from_dict, to_dict
from codling.data.json_lines import read_objects


@config
class _Aside:
    """A line of a pair without a verdict."""

    id: str
    set_aside: SetAside


class VerdictLog:
    """The file, and what it holds."""

    def __init__(self, path: Path) -> None:
        """Read what is there. A judge's failures are forgotten, so that it is asked again.

        Errors: `UserError` that names file and line, for one that is damaged otherwise than by a kill.
        """
        self._path = path
        self._file: TextIO | None = None
        self.results: dict[str, Verdict | SetAside] = {}
        if path.is_file():
            _drop_half_line(path)
            for place, record in read_objects(path):
                pair_id, result = _read(record, place)
                if result not in JUDGE_FAILURES:
                    self.results[pair_id] = result

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Hold the file open, for `add`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as self._file:
            yield

    def add(self, pair_id: str, result: Verdict | SetAside) -> None:
        """Keep one more result; a kill right after it does not lose it."""
        assert self._file is not None
        values = {"set_aside": result.value} if isinstance(result, SetAside) else to_dict(result)
        self._file.write(json.dumps({"id": pair_id, **values}) + "\n")
        self._file.flush()
        self.results[pair_id] = result

    def remove(self) -> None:
        """Forget everything."""
        self._path.unlink(missing_ok=True)


def _drop_half_line(path: Path) -> None:
    """A kill while a line was written leaves its first half."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        with path.open("r+b") as file:
            file.truncate(len(whole))


def _read(record: dict[str, Any], place: str) -> tuple[str, Verdict | SetAside]:
    if "set_aside" in record:
        aside = from_dict(_Aside, record, source=place)
        return aside.id, aside.set_aside
    values = dict(record)
    return str(values.pop("id", "")), from_dict(Verdict, values, source=place)
