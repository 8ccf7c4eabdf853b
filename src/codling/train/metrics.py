"""Metrics of a stage, written as they come: `metrics.jsonl` for programs, TensorBoard files for people."""

import json
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

METRICS_FILE = "metrics.jsonl"
METRICS_PARTIAL_FILE = "metrics.jsonl.partial"


class MetricsWriter:
    """Appends one JSON line a record; every record names its step."""

    def __init__(self, directory: Path, resume_step: int) -> None:
        """Open the files in `directory`, keeping records up to and including `resume_step`."""
        self._directory = directory
        self._open(resume_step)

    def go_back(self, resume_step: int) -> None:
        """Drop the records of later steps: they are about to be written again."""
        self.close()
        self._open(resume_step)

    def write(self, step: int, **values: int | float) -> None:
        """Write one record and flush it."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        self._events.close()

    def _open(self, resume_step: int) -> None:
        kept = [record for record in read_metrics(self._directory) if record["step"] <= resume_step]
        # Replaced in one step: a kill must not leave the curve cut off.
        partial = self._directory / METRICS_PARTIAL_FILE
        partial.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        partial.replace(self._directory / METRICS_FILE)
        self._file = (self._directory / METRICS_FILE).open("a", encoding="utf-8")
        self._events = SummaryWriter(str(self._directory / "tensorboard"), purge_step=resume_step + 1)


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """All whole records of a stage; a last line cut short by a kill is passed over."""
    path = directory / METRICS_FILE
    records: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return records
