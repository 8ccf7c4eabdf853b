"""What palettization took from the device model, and what its recovery adapter won back."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from codling.artifact.stage import Inputs
from codling.report.bit_map import BitMap, bit_map
from codling.report.figures import compression_figure, divergence_figure, mean_loss
from codling.report.stage_table import PALETTIZING

DENSE, PALETTIZED, START, RECOVERED = "dense", "palettized", "adapter_start", "recovered"
"""What `device_recover` measures, in this order."""
TITLES = {
    DENSE: "Dense",
    PALETTIZED: "Palettized",
    START: "Adapter's start",
    RECOVERED: "Recovered",
}


class Damage(NamedTuple):
    """What palettization cost, in nats a token."""

    is_divergence: bool
    """From the dense model; else by how much the loss rose, a mean over all kinds of text and skills."""
    nats_per_token: float
    share_won_back: float
    """By the trained adapter."""


class Form(NamedTuple):
    """The model in one of its forms."""

    title: str
    perplexity: float
    """On text: e to the loss a token, so the geometric mean over the kinds."""
    nll_text: float
    nll_skills: float | None
    nll_all_kinds: float
    change: float
    """Of the loss on all kinds, from the dense model's."""
    divergence: float | None
    """From the dense model, in nats a token; None where it was not measured."""
    share_won_back: float | None
    """Of what palettization cost; None where nothing had been lost yet."""


class Compression(NamedTuple):
    """The section about it."""

    damage: Damage
    forms: tuple[Form, ...]
    loss_figure: Markup
    divergence_figure: Markup | None
    trains_tables: bool
    bit_map: BitMap | None
    bits_per_weight_projections: float
    bits_per_weight_total: float


def compression(inputs: Inputs) -> Compression:
    """The numbers of the palettizing stage and of the recovery adapter's."""
    recovery, bundle = (inputs[name].manifest.metrics for name in ("device_recover", "device"))
    palettizing = next(inputs[name].manifest.metrics for name in PALETTIZING if name in inputs)
    divergence = _divergence(recovery)
    return Compression(
        damage=damage(recovery),
        forms=tuple(_form(name, recovery) for name in TITLES),
        loss_figure=compression_figure({title: recovery["heldout"][name] for name, title in TITLES.items()}),
        divergence_figure=divergence_figure({title: divergence[name] for name, title in TITLES.items()})
        if divergence
        else None,
        trains_tables=recovery.get("trains_tables", False),
        bit_map=bit_map(palettizing.get("matrices", {})),
        bits_per_weight_projections=bundle["bits_per_weight_projections"],
        bits_per_weight_total=bundle["bits_per_weight_total"],
    )


def damage(recovery: Mapping[str, Any]) -> Damage:
    """Read off the metrics of `device_recover`: the divergence where it was measured, else the loss."""
    divergence, share = _divergence(recovery), recovery["share_won_back"]
    if divergence:
        return Damage(True, divergence[PALETTIZED], share)
    return Damage(False, _change(PALETTIZED, recovery), share)


def _form(name: str, recovery: Mapping[str, Any]) -> Form:
    figures, divergence = recovery["heldout"][name], _divergence(recovery)
    return Form(
        title=TITLES[name],
        perplexity=math.exp(figures["nll"]),
        nll_text=figures["nll"],
        nll_skills=figures.get("nll_skills"),
        nll_all_kinds=mean_loss(figures),
        change=_change(name, recovery),
        divergence=divergence.get(name),
        share_won_back=_share_won_back(name, recovery),
    )


def _divergence(recovery: Mapping[str, Any]) -> dict[str, float]:
    """Of every form from the dense one, the dense one's included; empty where it was not measured."""
    return {DENSE: 0.0, **recovery["divergence"]} if "divergence" in recovery else {}


def _change(name: str, recovery: Mapping[str, Any]) -> float:
    return mean_loss(recovery["heldout"][name]) - mean_loss(recovery["heldout"][DENSE])


def _share_won_back(name: str, recovery: Mapping[str, Any]) -> float | None:
    """By the trained adapter as the stage tells it, and by its start in the same way."""
    lost = damage(recovery)
    if name == RECOVERED:
        return lost.share_won_back
    if name != START or lost.nats_per_token <= 0:
        return None
    left = _divergence(recovery)[START] if lost.is_divergence else _change(START, recovery)
    return 1 - left / lost.nats_per_token
