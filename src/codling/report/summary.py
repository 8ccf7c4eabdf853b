"""The top of the page: one sentence and a handful of key figures."""

from collections.abc import Sequence
from typing import NamedTuple

from codling.artifact.stage import Inputs
from codling.report.formats import bits, count, duration, percent, size
from codling.report.skill_scores import SkillReport
from codling.report.stage_table import num_tokens


class Tile(NamedTuple):
    """One key figure."""

    label: str
    value: str
    detail: str


class SizeRow(NamedTuple):
    """What one form of a model takes to store."""

    name: str
    num_parameters: int
    size_bytes: float
    bits_per_weight_projections: float | None
    """None where it is not a matter of weights."""
    bits_per_weight_total: float | None
    """With the embedding."""


def total_wall_time_s(inputs: Inputs) -> float:
    """Of all stages; this page's own is not known while it is written."""
    return sum(artifact.manifest.wall_time_s for artifact in inputs.values())


def total_tokens(inputs: Inputs) -> int:
    """Tokens that all stages trained on, controls included."""
    return sum(num_tokens(artifact.manifest.metrics) for artifact in inputs.values())


def size_rows(inputs: Inputs) -> list[SizeRow]:
    """Server, and the device model before and after compression, with its adapter and without."""
    server, device = (inputs[side].manifest.metrics for side in ("server", "device"))
    num_parameters, num_adapter = device["num_parameters"], device["num_parameters_adapter"]
    projections, total = device["bits_per_weight_projections"], device["bits_per_weight_total"]
    both_bytes = device["size_bytes"] + device["size_bytes_adapter"]
    num_projections = num_parameters - device["num_parameters_embedding"]
    adapter_bits = 8 * device["size_bytes_adapter"]
    dense = ("float32", 4 * num_parameters)
    return [
        SizeRow(
            "Server",
            server["num_parameters"],
            server["size_bytes"],
            server["bits_per_weight_projections"],
            server["bits_per_weight_total"],
        ),
        SizeRow(f"Device, dense {dense[0]}", num_parameters, dense[1], 32.0, 32.0),
        SizeRow("Device, palettized", num_parameters, device["size_bytes"], projections, total),
        SizeRow("Recovery adapter (16 bits)", num_adapter, device["size_bytes_adapter"], None, None),
        SizeRow(
            "Device as run: palettized + adapter",
            num_parameters + num_adapter,
            both_bytes,
            projections + adapter_bits / num_projections,
            8 * both_bytes / num_parameters,
        ),
    ]


def headline(inputs: Inputs, skills: Sequence[SkillReport]) -> str:
    """What came out, in one sentence."""
    server, device = (inputs[side].manifest.metrics for side in ("server", "device"))
    grown = (
        f"Grown from raw text: a server model of {count(server['num_parameters'])} parameters and an on-device model "
        f"of {count(device['num_parameters'])}"
    )
    if not skills:
        return grown + "."
    skill = skills[0]
    title = skill.title[0].lower() + skill.title[1:]
    return f"{grown}, which gets {percent(skill.score_of('device').exact)} of held-out {title} exactly right."


def tiles(inputs: Inputs, skills: Sequence[SkillReport]) -> list[Tile]:
    """The key figures."""
    metrics = {name: artifact.manifest.metrics for name, artifact in inputs.items()}
    server, device = metrics["server"], metrics["device"]
    measured = {side: metrics["measure"][side]["heldout"]["bits_per_byte"] for side in ("server", "device")}
    cores = inputs["measure"].manifest.hardware.get("cores", "?")
    result = [
        Tile(
            "Parameters",
            f"{count(server['num_parameters'])} / {count(device['num_parameters'])}",
            f"server / device; embedding {count(server['num_parameters_embedding'])} / "
            f"{count(device['num_parameters_embedding'])}",
        ),
        Tile(
            "Device bits a weight",
            f"{bits(device['bits_per_weight_projections'])}",
            f"projections alone; {bits(device['bits_per_weight_total'])} with the embedding; "
            f"adapter {size(device['size_bytes_adapter'])} more",
        ),
        Tile(
            "Device size",
            size(device["size_bytes"]),
            f"of weights, {size(device['size_bytes'] + device['size_bytes_adapter'])} with adapter; "
            f"server {size(server['size_bytes'])}",
        ),
        *(_skill_tile(skill) for skill in skills),
        Tile(
            "Held-out bits a byte",
            f"{bits(measured['server'])} / {bits(measured['device'])}",
            "server / device; mean over the kinds of text",
        ),
        Tile("Tokens trained on", count(total_tokens(inputs)), "by all stages, the control's among them"),
        Tile("Wall time", duration(total_wall_time_s(inputs)), f"of {len(inputs)} stages on {cores} cores"),
    ]
    return result


def _skill_tile(skill: SkillReport) -> Tile:
    device, server, best = skill.score_of("device"), skill.score_of("server"), skill.best_baseline
    trivial = f"; best trivial answer {percent(best.exact)}" if best else ""
    detail = f"server / device, exact{trivial}"
    return Tile(skill.title, f"{percent(server.exact)} / {percent(device.exact)}", detail)
