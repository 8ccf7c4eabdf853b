"""Runs a recipe: every stage that is not done yet, in order; a build that was killed goes on where it was.

<out>/recipe.toml          what was built last
<out>/stages/<id>/         one artifact a stage
<out>/server, device       the finished bundles
<out>/report.html          what to look at
"""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from codling.artifact.manifest import MANIFEST_FILE
from codling.artifact.processes import is_lead
from codling.artifact.stage import Artifact, Stage, load_artifact, run_stage
from codling.artifact.workspace import Reporter
from codling.errors import UserError
from codling.recipes.headline import headline
from codling.recipes.recipe import Recipe, stages
from codling.recipes.registry import recipe_toml
from codling.report.page import REPORT_FILE

RECIPE_FILE = "recipe.toml"
STAGES_DIRECTORY = "stages"
BUNDLES = ("server", "device")
REPORT_STAGE = "report"


@runtime_checkable
class BuildReporter(Reporter, Protocol):
    """Shows how a build goes."""

    def stage_started(self, name: str, index: int, total: int) -> None:
        """Stage `index` of `total` (from 1) begins, or is found done."""

    def stage_done(self, name: str, seconds: float, headline: str) -> None:
        """A stage ended."""

    def stage_reused(self, name: str) -> None:
        """A stage was done before."""


def build(recipe: Recipe, out: Path, *, until: str | None, reporter: BuildReporter) -> dict[str, Artifact]:
    """Run the recipe's stages in `out`, or only `until` and what it needs, and put the results where users look.

    Errors: `UserError` for an unknown stage, or an `out` that holds something else than a build.
    """
    graph = stages(recipe)
    names = [stage.name for stage in graph]
    if until is not None and until not in names:
        raise UserError(f"--until {until}: no such stage (the recipe has: {', '.join(names)})")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / RECIPE_FILE).is_file())):
        raise UserError(f"{out}: not empty and not a codling build; choose another --out")
    if is_lead():
        out.mkdir(parents=True, exist_ok=True)
        (out / RECIPE_FILE).write_text(recipe_toml(recipe), encoding="utf-8")
    done: dict[str, Artifact] = {}
    graph = graph if until is None else needed_for(until, graph)
    for index, stage in enumerate(graph, start=1):
        done[stage.name] = _run(stage, done, recipe.seed, out, reporter, index, len(graph))
        if not is_lead():
            continue
        if stage.name in BUNDLES:
            _publish(done[stage.name], out / stage.name)
        if stage.name == REPORT_STAGE:
            shutil.copyfile(done[stage.name].path / REPORT_FILE, out / REPORT_FILE)
    return done


def needed_for(name: str, graph: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stage of that name and all that it builds on, in the graph's order."""
    needed = {name}
    for stage in reversed(graph):
        if stage.name in needed:
            needed |= set(stage.inputs.values())
    return tuple(stage for stage in graph if stage.name in needed)


def _run(
    stage: Stage, done: dict[str, Artifact], seed: int, out: Path, reporter: BuildReporter, index: int, total: int
) -> Artifact:
    inputs = {role: done[name] for role, name in stage.inputs.items()}
    reporter.stage_started(stage.name, index, total)
    start_s = time.time()
    artifact = run_stage(stage, inputs, out / STAGES_DIRECTORY, seed, reporter)
    if (artifact.path / MANIFEST_FILE).stat().st_mtime < start_s:
        reporter.stage_reused(stage.name)
    else:
        reporter.stage_done(stage.name, time.time() - start_s, headline(artifact.manifest))
    return artifact


def _publish(artifact: Artifact, target: Path) -> None:
    """Put a bundle under its own name: hard links where the file system has them, replaced in one rename."""
    if (target / MANIFEST_FILE).is_file() and load_artifact(target).manifest.id == artifact.manifest.id:
        return
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(artifact.path, partial, copy_function=_link_or_copy)
    (partial / "started.json").unlink(missing_ok=True)
    if target.exists():
        old = target.with_name(target.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        partial.rename(target)
        shutil.rmtree(old)
    else:
        partial.rename(target)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
