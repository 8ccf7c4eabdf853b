"""The stage that trains a round's reward model: anew, on all labels so far (arXiv 2407.21075 section 4.2.2).

Pairs of some prompts are held out, by a hash of the prompt: in every round the same ones, so that accuracies compare.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import load_model, tokenizer_of
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.committee.committee import best_model
from codling.committee.label_pairs import LABELS_FILE
from codling.config import config
from codling.errors import UserError
from codling.posttrain.pair_data import lay_out
from codling.posttrain.preference_sets import PreferenceSetConfig, read_preference_set
from codling.posttrain.preferences import PreferencePair, read_preferences
from codling.posttrain.reward_files import save_reward_model
from codling.posttrain.reward_model import init_reward_model
from codling.posttrain.train_rewards import RewardModelConfig, reward_figures, train_reward_model
from codling.tokenizer.encode import Tokenizer

LABELS_ROLE = "labels"
"""Inputs whose role begins so are labels: of this round, and of all before."""


@config
class RewardStageConfig:
    """The training, and which pairs it does not see."""

    training: RewardModelConfig
    heldout_share: float = 0.1
    """Of the prompts: their pairs judge the reward model."""
    sets: tuple[PreferenceSetConfig, ...] = ()
    """Published preferences beside the committee's own labels."""

    def __post_init__(self) -> None:
        if not 0 <= self.heldout_share < 1:
            raise ValueError(f"heldout_share is {self.heldout_share}; it must be at least 0 and below 1")


def run_reward_model(config: RewardStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train and measure. Inputs: model (the backbone starts as it), tokenizer, labels...

    Errors: `UserError` where all pairs are held out, or none of the others fits a row.
    """
    path = best_model(inputs["model"])
    tokenizer = Tokenizer.load(inputs["tokenizer"].path)
    sets = [read_preference_set(one) for one in config.sets]
    pairs = [*read_labels(inputs), *(pair for one in sets for pair in one.pairs)]
    train, heldout = split_pairs(pairs, config.heldout_share)
    if not train:
        raise UserError(f"{out.name}: all {len(pairs)} pairs are held out; lower heldout_share, or label more")
    backbone = load_model(path)
    is_measured = bool(lay_out(heldout, tokenizer, config.training.row_length_tokens).pairs)
    measure = partial(reward_figures, config.training, pairs=heldout, tokenizer=tokenizer)
    before = measure(init_reward_model(backbone, key)) if is_measured else None
    model = train_reward_model(config.training, backbone, train, tokenizer, out, key)
    save_reward_model(out.path, model, tokenizer_sha256=tokenizer_of(path))
    return {
        "num_train_pairs": len(train),
        "num_heldout_pairs": len(heldout),
        "num_too_long": lay_out(train, tokenizer, config.training.row_length_tokens).num_too_long,
        "num_left_out_by_set": {
            one.set: {reason.value: count for reason, count in found.left_out.items()}
            for one, found in zip(config.sets, sets, strict=True)
        },
        "before": before,
        "after": measure(model) if is_measured else None,
        "grading_weight": config.training.loss.grading_weight,
    }


def read_labels(inputs: Inputs) -> list[PreferencePair]:
    """All labels among the inputs, the newest verdict on a pair alone where there are two."""
    roles = sorted(role for role in inputs if role.startswith(LABELS_ROLE))
    by_id = {pair.id: pair for role in roles for pair in read_preferences(inputs[role].path / LABELS_FILE)}
    return list(by_id.values())


def split_pairs(
    pairs: Sequence[PreferencePair], heldout_share: float
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Pairs to train on, and those of held-out prompts: no prompt is on both sides."""
    is_heldout = [int(pair.prompt.id[:8], base=16) < heldout_share * 2**32 for pair in pairs]
    return (
        [pair for pair, held in zip(pairs, is_heldout, strict=True) if not held],
        [pair for pair, held in zip(pairs, is_heldout, strict=True) if held],
    )
