"""The report stage: everything that the build left, told on one page that needs nothing else to be read.

Last in the recipe. It reads manifests, training records and answers, never a model, and judges nothing that is not in
them. The same artifacts give the same page, byte for byte.
"""

import json
from typing import Any

import tomli_w
from jaxtyping import PRNGKeyArray
from jinja2 import Environment, PackageLoader, StrictUndefined

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.evaluate.measure import MEASUREMENTS_FILE
from codling.posttrain.levels import Level
from codling.report import figures, formats
from codling.report.alignment import alignment
from codling.report.compression import compression
from codling.report.diagram import BOX_HEIGHT, build_diagram
from codling.report.feature_adapters import feature_adapters
from codling.report.findings import context_before_lengthening, findings
from codling.report.paired_scores import comparisons
from codling.report.provenance import provenance
from codling.report.retrieval import found, retrieval_figure
from codling.report.rounds import SIDES
from codling.report.skill_scores import MODELS, skill_reports, skill_title
from codling.report.stage_table import stage_rows
from codling.report.start import start_parts
from codling.report.summary import headline, size_rows, tiles, total_tokens, total_wall_time_s
from codling.report.titles import PRUNING_METHODS

REPORT_FILE = "report.html"
TEMPLATE = "report.html.j2"


@config
class ReportConfig:
    """What the page says about the recipe itself."""

    recipe_name: str
    recipe: dict[str, Any]
    """All of its values, as in recipe.toml."""


def run_report(config: ReportConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Write the page. Inputs: every other stage of the recipe, by its own name, in the recipe's order."""
    page = build_page(config, inputs)
    (out.path / REPORT_FILE).write_text(page, encoding="utf-8")
    return {"size_bytes": len(page.encode())}


def build_page(config: ReportConfig, inputs: Inputs) -> str:
    """The page as HTML."""
    measured = json.loads((inputs["measure"].path / MEASUREMENTS_FILE).read_text(encoding="utf-8"))
    rows = stage_rows(inputs)
    skills = skill_reports(measured, inputs)
    adapters = feature_adapters(measured, inputs["measure"].manifest.metrics["swap_ms"])
    sides = alignment(inputs)
    aligned_sides = [part.side for part in sides if part.num_rounds]
    compared = comparisons(measured, aligned_sides)
    old_lengths = {side: context_before_lengthening(inputs, side) for side in SIDES}
    return _environment().get_template(TEMPLATE).render(
        recipe_name=config.recipe_name,
        recipe_toml=tomli_w.dumps(config.recipe),
        headline=headline(inputs, skills),
        tiles=tiles(inputs, skills),
        diagram=build_diagram(rows),
        box_height=BOX_HEIGHT,
        findings=findings(inputs, skills, compared, adapters),
        rows=rows,
        total_wall_time_s=total_wall_time_s(inputs),
        total_tokens=total_tokens(inputs),
        sides=SIDES,
        lane_stages=figures.LANE_STAGES,
        lane_figures={side: figures.lane_figure(inputs, rows, side) for side in SIDES},
        start_parts=start_parts(inputs),
        start_figure=figures.start_figure(inputs),
        pruning_method=PRUNING_METHODS[inputs["device_prune"].manifest.metrics["method"]],
        pruning_figure=figures.pruning_figure(inputs["device_prune"].manifest.metrics),
        old_lengths=old_lengths,
        position_figures={side: figures.positions_figure(inputs, side, old_lengths[side]) for side in SIDES},
        retrieval_figures={side: retrieval_figure(inputs, side, old_lengths[side]) for side in SIDES},
        found={side: found(inputs, side, old_lengths[side]) for side in SIDES},
        alignment=sides,
        aligned_sides=aligned_sides,
        compared=compared,
        levels=[level.value for level in Level],
        compression=compression(inputs),
        adapters=adapters,
        sizes=size_rows(inputs),
        skills=skills,
        models=MODELS,
        stories=[measured[side]["stories"] for side in SIDES],
        provenance=provenance(inputs),
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("codling.report", "."),
        # Everything is escaped, whatever the template's name: much of the page was written by models.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "loss": formats.loss,
        "perplexity": formats.perplexity,
        "nats": formats.nats,
        "signed": formats.signed,
        "verdict": formats.verdict,
        "percent": formats.percent,
        "points": formats.points,
        "reward": formats.reward,
        "count": formats.count,
        "size": formats.size,
        "duration": formats.duration,
        "bits": formats.bits,
        "milliseconds": formats.milliseconds,
        "visible": formats.visible,
        "skill_title": skill_title,
    }
    return environment
