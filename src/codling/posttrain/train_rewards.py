"""Trains the reward model on preference pairs, and measures it on others (arXiv 2407.21075 section 4.2)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from codling.artifact.workspace import Workspace
from codling.config import config
from codling.model.transformer import Transformer
from codling.posttrain.gradings import ASPECTS, MISSING_GRADE
from codling.posttrain.levels import Level, LevelMargins, LevelProbabilities
from codling.posttrain.pair_data import SpelledPair, check_rows_of_pairs, lay_out, load_pairs
from codling.posttrain.pair_rows import PairBatch, pair_rows
from codling.posttrain.preferences import PreferencePair
from codling.posttrain.reward_loss import RewardLossConfig, reward_loss
from codling.posttrain.reward_model import Judgement, RewardModel, init_reward_model
from codling.tokenizer.encode import Tokenizer
from codling.train.loop import LoopConfig, train
from codling.train.seed import seed_from
from codling.train.sharding import gather

NUM_BINS = 10
"""Of the calibration."""


@config
class RewardModelConfig:
    """Training on pairs."""

    loop: LoopConfig
    """Rows are answers: two of them are a pair."""
    row_length_tokens: int
    """Of prompt and answer together; longer pairs are left out, and counted."""
    loss: RewardLossConfig = RewardLossConfig()
    probabilities: LevelProbabilities = LevelProbabilities()
    margins: LevelMargins = LevelMargins()

    def __post_init__(self) -> None:
        check_rows_of_pairs(self.loop)


def train_reward_model(
    config: RewardModelConfig,
    backbone: Transformer,
    pairs: Sequence[PreferencePair],
    tokenizer: Tokenizer,
    workspace: Workspace,
    key: PRNGKeyArray,
) -> RewardModel:
    """Train all of the backbone and the heads. Errors: as `load_pairs`, and those of the loop."""
    laid_out, length = lay_out(pairs, tokenizer, config.row_length_tokens), config.row_length_tokens
    loader = load_pairs(workspace.name, config.loop, laid_out, length, seed_from(key), partial(_batch, config))
    model = init_reward_model(backbone, jax.random.fold_in(key, 1))
    for record in train(config.loop, reward_loss(config.loss), model, None, loader, workspace, key):
        model = record.params
    trained: RewardModel = gather(model)
    return trained


def reward_figures(
    config: RewardModelConfig, model: RewardModel, pairs: Sequence[PreferencePair], tokenizer: Tokenizer
) -> dict[str, Any]:
    """How a reward model does on pairs: accuracy, by level too; calibration; accuracy of each grading head.

    Calibration is the mean distance between sigma(r_chosen - r_rejected), taken for the answer that comes first in the
    pair, and how often that answer is the better one, over ten equal bins (arXiv 1706.04599).
    """
    laid_out = lay_out(pairs, tokenizer, config.row_length_tokens)
    size = config.loop.batch_size_rows // 2
    parts = []
    for start in range(0, len(laid_out.pairs), size):
        some = laid_out.pairs[start : start + size]
        batch = _batch(config, [*some, *[some[0]] * (size - len(some))])
        judged = _judge(model, batch)
        count = 2 * len(some)
        parts.append([np.asarray(values)[:count] for values in (judged.rewards, judged.grade_logits, batch.grades)])
    rewards, logits, grades = (np.concatenate(values) for values in zip(*parts, strict=True))
    margins, kept = rewards[::2] - rewards[1::2], [pair for _, pair in laid_out.pairs]
    is_right, levels = margins > 0, np.asarray([pair.level for pair in kept])
    return {
        "num_pairs": len(kept),
        "num_too_long": laid_out.num_too_long,
        "accuracy": float(np.mean(is_right)),
        "accuracy_by_level": {
            level.value: float(np.mean(is_right[levels == level])) for level in Level if np.any(levels == level)
        },
        "calibration_error": calibration_error(margins, np.asarray([pair.better == 0 for pair in kept])),
        "grading_accuracy": grading_accuracy(logits, grades),
    }


def calibration_error(margins: Float[np.ndarray, " N"], is_first: Bool[np.ndarray, " N"]) -> float:
    """Expected calibration error of the first answer being the better; `margins` favor the better one."""
    probabilities = 1.0 / (1.0 + np.exp(-np.where(is_first, margins, -margins)))
    bins = np.minimum((probabilities * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = [
        np.mean(bins == place) * abs(np.mean(probabilities[bins == place]) - np.mean(is_first[bins == place]))
        for place in np.unique(bins)
    ]
    return float(np.sum(gaps))


def grading_accuracy(logits: Float[np.ndarray, "B 4 3"], grades: Int[np.ndarray, "B 4"]) -> dict[str, float]:
    """Share of the grades that each head names right, of those that were given."""
    found = {}
    for place, aspect in enumerate(ASPECTS):
        is_given = grades[:, place] != MISSING_GRADE
        if np.any(is_given):
            named = np.argmax(logits[is_given, place], axis=-1)
            found[aspect.__name__] = float(np.mean(named == grades[is_given, place]))
    return found


def _batch(config: RewardModelConfig, chosen: Sequence[SpelledPair]) -> PairBatch:
    encoded, pairs = zip(*chosen, strict=True)
    probabilities = [config.probabilities.of(pair.level) for pair in pairs]
    margins = [config.margins.of(pair.level) for pair in pairs]
    return pair_rows(encoded, pairs, probabilities, margins, config.row_length_tokens)


@eqx.filter_jit
def _judge(model: RewardModel, batch: PairBatch) -> Judgement:
    return model(batch.batch, jnp.asarray(batch.ends))
