"""What palettization took from the device model, and what its recovery adapter won back."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from codling.artifact.stage import Inputs
from codling.report.bit_map import BitMap, bit_map
from codling.report.figures import compression_figure, divergence_figure, mean_loss

DENSE, PALETTIZED, START, RECOVERED = "dense", "palettized", "adapter_start", "recovered"
"""What `device_recover` measures, in this order."""
TITLES = {
    DENSE: "Dense",
    PALETTIZED: "Palettized",
    START: "Adapter's start",
    RECOVERED: "Recovered",
}


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
    divergence: float
    """From the dense model, in nats a token."""
    share_won_back: float | None
    """Of palettization's divergence; None where nothing had been lost yet."""


class Compression(NamedTuple):
    """The section about it."""

    divergence: float
    """What palettization alone brought, in nats a token."""
    share_won_back: float
    """By the trained adapter."""
    forms: tuple[Form, ...]
    loss_figure: Markup
    divergence_figure: Markup
    trains_tables: bool
    bit_map: BitMap
    bits_per_weight_projections: float
    bits_per_weight_total: float


def compression(inputs: Inputs) -> Compression:
    """The numbers of the palettizing stage and of the recovery adapter's."""
    compress, recovery, bundle = (
        inputs[name].manifest.metrics for name in ("device_compress", "device_recover", "device")
    )
    divergence = recovery["divergence"]
    return Compression(
        divergence=divergence[PALETTIZED],
        share_won_back=recovery["share_won_back"],
        forms=tuple(_form(name, recovery) for name in TITLES),
        loss_figure=compression_figure({title: recovery["heldout"][name] for name, title in TITLES.items()}),
        divergence_figure=divergence_figure({title: divergence[name] for name, title in TITLES.items()}),
        trains_tables=recovery["trains_tables"],
        bit_map=bit_map(compress["matrices"]),
        bits_per_weight_projections=bundle["bits_per_weight_projections"],
        bits_per_weight_total=bundle["bits_per_weight_total"],
    )


def _form(name: str, recovery: Mapping[str, Any]) -> Form:
    figures, divergence = recovery["heldout"][name], recovery["divergence"]
    lost = divergence[PALETTIZED]
    return Form(
        title=TITLES[name],
        perplexity=math.exp(figures["nll"]),
        nll_text=figures["nll"],
        nll_skills=figures.get("nll_skills"),
        nll_all_kinds=mean_loss(figures),
        change=mean_loss(figures) - mean_loss(recovery["heldout"][DENSE]),
        divergence=divergence[name],
        share_won_back=1 - divergence[name] / lost if name in (START, RECOVERED) and lost > 0 else None,
    )
