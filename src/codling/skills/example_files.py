"""Examples on disk: one JSON object a line."""

import json
from pathlib import Path

from codling.errors import UserError
from codling.skills.skill import Example


def write_examples(path: Path, examples: list[Example]) -> None:
    """Write the examples; the folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{key: value for key, value in example._asdict().items() if value is not None} for example in examples]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")


def read_examples(path: Path) -> list[Example]:
    """Read what `write_examples` wrote. Errors: `UserError` for a file that is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; build the conversations again")
    try:
        # Not splitlines: a JSON string may hold U+2028, which is no end of a record.
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return [
            Example(tuple(row["messages"]), tuple(row["tools"]), row["skill"], row["category"], row.get("check"))
            for row in rows
        ]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); build the conversations again") from None
