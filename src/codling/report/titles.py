"""What the page calls the stages, and which of the two models each belongs to."""

from typing import Literal

Lane = Literal["server", "device", "both"]

TITLES = {
    "core": "Core pre-training",
    "parent_core": "Parent: core pre-training",
    "prune": "Pruning",
    "distill": "Distillation",
    "from_scratch": "Control: from scratch",
    "from_scratch_continued": "Control: continued",
    "continued": "Continued pre-training",
    "long_context": "Context-lengthening",
    "sft": "Supervised fine-tuning",
    "palettize": "Palettization",
    "recover": "Recovery adapter",
    "server": "Server bundle",
    "device": "Device bundle",
}

PRUNING_METHODS = {
    "soft_topk": "a learned Soft-Top-K mask",
    "contribution": "what they add to the residual stream",
    "mean_activation": "their mean activation",
    "weight_norm": "the norm of their weights",
    "random": "lot",
}
"""What the units that pruning keeps are chosen by."""


def lane(stage: str) -> Lane:
    """The model that a stage works on."""
    first = stage.partition("_")[0]
    return "server" if first == "server" else "device" if first == "device" else "both"


def title(stage: str) -> str:
    """A stage's name in words, without its model."""
    short = stage.removeprefix("server_").removeprefix("device_")
    return TITLES.get(short, short.replace("_", " ").capitalize())


def full_title(stage: str) -> str:
    """A stage's name in words, with its model."""
    name = title(stage)
    return name if lane(stage) == "both" or "bundle" in name else f"{name} ({lane(stage)})"
