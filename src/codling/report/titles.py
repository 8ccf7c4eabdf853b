"""What the page calls the stages, and which of the two models each belongs to."""

from typing import Literal

from codling.report.rounds import round_stage

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
    "task_prompts": "Prompts of the rounds",
    "aligned": "Aligned model",
    "compress": "Palettization",
    "recover": "Recovery adapter",
    "server": "Server bundle",
    "device": "Device bundle",
}

FEATURE_ADAPTER = "device_adapt_"
"""What the names of the stages begin with that train an adapter for a single feature."""

ROUND_PARTS = {
    "rewards": "reward model",
    "best": "best answers",
    "rs": "rejection sampling",
    "dpo": "DPO",
    "ipo": "IPO",
    "mdloo": "MDLOO",
}
"""Of a round of alignment, where the part's own name is not yet what the page calls it."""

METHODS = {
    "sft": "SFT",
    "rs": "RS",
    "dpo": "DPO",
    "ipo": "IPO",
    "mdloo": "MDLOO",
}
"""How a model of the committee was trained, as short as a family tree needs it."""

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


def is_feature_adapter(stage: str) -> bool:
    """Whether a stage trains an adapter for a single feature."""
    return stage.startswith(FEATURE_ADAPTER)


def title(stage: str) -> str:
    """A stage's name in words, without its model."""
    if (part := round_stage(stage)) is not None:
        return f"Round {part.round}: {ROUND_PARTS.get(part.part, part.part.replace('_', ' '))}"
    if is_feature_adapter(stage):
        return f"Adapter: {stage.removeprefix(FEATURE_ADAPTER).replace('_', ' ')}"
    short = stage.removeprefix("server_").removeprefix("device_")
    return TITLES.get(short, short.replace("_", " ").capitalize())


def full_title(stage: str) -> str:
    """A stage's name in words, with its model."""
    name = title(stage)
    return name if lane(stage) == "both" or "bundle" in name else f"{name} ({lane(stage)})"
