"""JSON objects on disk, one a line, plain or gzip: each comes with the place by which an error names it."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from codling.errors import UserError


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read (place, object) line by line, empty lines passed over; a place reads `file:line`.

    Errors: `UserError` for a missing file, for one that is not whole or not UTF-8, and for a line that is no JSON
    object.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    # Not splitlines: a JSON string may hold U+2028, which is no end of a record.
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{place}: not a JSON object ({error.msg})") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place}: not a JSON object ({error})") from None
        if not isinstance(record, dict):
            raise UserError(f"{place}: not a JSON object (a {type(record).__name__})")
        yield place, record


def write_objects(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one object a line, gzip where the name ends in .gz; the folder is made if it is not there."""
    text = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
    data = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    # No time stamp: the same objects are the same bytes.
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_utf8(path: Path) -> str:
    """Read a text file, plain or gzip. Errors: `UserError` for one that is not whole or not UTF-8."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: not a whole gzip file ({error})") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; convert it to UTF-8") from None
