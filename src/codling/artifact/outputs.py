"""Directories and files that a command makes: whole in their place, or not there at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from codling.artifact.stage import Artifact, Inputs, Stage, run_stage
from codling.artifact.workspace import Reporter
from codling.errors import Terminated, UserError


def check_out(out: Path) -> None:
    """Raise a `UserError` if something else is there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not empty; choose another --out")


@contextlib.contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """A directory to fill, which takes the place of `out` at the end; if anything goes wrong it is gone.

    Errors: `UserError` if `out` is there and not empty, or cannot be made; then nothing is written.
    """
    check_out(out)
    partial, out = _beside(out)
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `out` at the end; if anything goes wrong it is gone.

    Errors: `UserError` if `out` is there already, or cannot be made; then nothing is written.
    """
    if out.exists():
        raise UserError(f"{out}: there already; choose another --out")
    partial, out = _beside(out)
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)


def run_stage_as(out: Path, stage: Stage, inputs: Inputs, seed: int, reporter: Reporter) -> Artifact:
    """Run a stage whose artifact is to be `out`. Interrupted or killed, the same call goes on where it was.

    Until then its work is in a hidden directory beside `out`; if the work fails that is gone.
    Errors: as for `check_out` and the stage.
    """
    check_out(out)
    partial, out = _beside(out)
    store = partial.with_name(f".{out.name}.partial")
    try:
        made = run_stage(stage, inputs, store, seed, reporter)
    except (Terminated, KeyboardInterrupt):
        raise
    except BaseException:
        shutil.rmtree(store, ignore_errors=True)
        raise
    if out.exists():
        out.rmdir()
    made.path.rename(out)
    shutil.rmtree(store)
    return Artifact(out, made.manifest)


def _beside(out: Path) -> tuple[Path, Path]:
    """Where to write before it is whole, and the place itself.

    Named after this process: what somebody else keeps beside `out` is never touched.
    """
    parent = next(path for path in out.absolute().parents if path.exists())
    if not parent.is_dir():
        raise UserError(f"{out}: cannot be made, as {parent} is a file; choose another --out")
    out = out.resolve()
    return out.with_name(f".{out.name}.partial-{os.getpid()}"), out
