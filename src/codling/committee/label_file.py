"""Labels by people: a file that the build waits for.

    {"id": PAIR ID, "better": 0, "level": "better", "gradings": [{...}, {...}], "labeler": "..."}        one a line
    {"id": PAIR ID, "tie": true}

What people need to fill it is left in the stage's directory: every pair with its id, without the names of the members
that wrote the answers, so that nobody is preferred for its name.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from codling.committee.candidates import CandidatePair
from codling.committee.labeler import PairsToLabel, SetAside, Verdict
from codling.config import config, from_dict
from codling.data.json_lines import read_objects, write_objects
from codling.errors import UserError
from codling.posttrain.levels import Level
from codling.posttrain.prompts import plain_message, plain_prompt

TO_LABEL_FILE = "to_label.jsonl"


@config
class LabelFileConfig:
    """People as a labeler."""

    kind: Literal["people"] = "people"
    path: Path
    """The file of their labels, JSONL, plain or gzip; relative to where `codling` is started."""

    @property
    def name(self) -> str:
        """People; a line may say who."""
        return "people"

    def label(self, work: PairsToLabel) -> Iterator[tuple[str, Verdict | SetAside]]:
        """Read the file. All of it, also what was known before: what it says now counts.

        Errors: `UserError` that says what is waited for, where the file is not there or lacks pairs; and that names
        file and line, for a line that is no label, a pair that is not asked about, or one labeled twice.
        """
        to_label = work.directory / TO_LABEL_FILE
        write_objects(to_label, (_shown(pair_id, pair) for pair_id, pair in work.pairs.items()))
        if not self.path.is_file():
            raise UserError(
                f"{self.path}: waiting for this file of labels, one line for each of the {len(work.pairs)} pairs in "
                f"{to_label}, such as {_example(work)}; run again when it is there"
            )
        results = _read(self.path, work.pairs, to_label)
        if missing := [pair_id for pair_id in work.pairs if pair_id not in results]:
            raise UserError(
                f"{self.path}: no label for {len(missing)} of the {len(work.pairs)} pairs in {to_label}, the first is "
                f"'{missing[0]}'; add a line for each, such as {_example(work)}, and run again"
            )
        return iter(results.items())


@config
class _Tie:
    """A line of a pair in which neither answer is better."""

    id: str
    tie: Literal[True]


def _read(path: Path, pairs: Mapping[str, CandidatePair], to_label: Path) -> dict[str, Verdict | SetAside]:
    results: dict[str, Verdict | SetAside] = {}
    for place, record in read_objects(path):
        pair_id = record.get("id")
        if not isinstance(pair_id, str):
            raise UserError(f"{place}: no id; give the one that the pair has in {to_label}")
        if pair_id not in pairs:
            raise UserError(f"{place}: no pair has the id '{pair_id}'; the pairs are in {to_label}")
        if pair_id in results:
            raise UserError(f"{place}: a second label for '{pair_id}'; leave one")
        results[pair_id] = _read_line(record, place)
    return results


def _read_line(record: Mapping[str, Any], place: str) -> Verdict | SetAside:
    if "tie" in record:
        from_dict(_Tie, record, source=place)
        return SetAside.TIE
    return from_dict(Verdict, {key: value for key, value in record.items() if key != "id"}, source=place)


def _shown(pair_id: str, pair: CandidatePair) -> dict[str, Any]:
    answers = [plain_message(answer) for answer in pair.answers]
    return {"id": pair_id, "prompt": plain_prompt(pair.prompt.prompt), "answers": answers}


def _example(work: PairsToLabel) -> str:
    levels = "|".join(Level)
    return f'{{"id": "{next(iter(work.pairs))}", "better": 0 or 1, "level": "{levels}"}} or {{"id": ..., "tie": true}}'
