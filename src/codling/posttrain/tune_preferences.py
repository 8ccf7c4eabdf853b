"""Training on preference pairs without a reward model, by DPO or IPO; both are members of the report's committee."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import PRNGKeyArray

from codling.artifact.workspace import Workspace
from codling.config import config
from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.posttrain.answer_log_probs import AnswerSums, answer_log_probs, sum_answers
from codling.posttrain.dpo import dpo_loss
from codling.posttrain.ipo import ipo_loss
from codling.posttrain.pair_data import SpelledPair, check_rows_of_pairs, lay_out, load_pairs
from codling.posttrain.pair_log_probs import PairLogProbs
from codling.posttrain.pair_rows import PairBatch, pair_rows
from codling.posttrain.preferences import PreferencePair
from codling.tokenizer.encode import Tokenizer
from codling.train.loop import LoopConfig, train
from codling.train.loss import LossSums
from codling.train.objective import last_hidden
from codling.train.seed import seed_from
from codling.train.sharding import gather
from codling.train.step import LossFunction


@config
class DpoConfig:
    """Direct preference optimization."""

    name: Literal["dpo"] = "dpo"
    beta: float = 0.1
    """Price of a nat of divergence from the reference (arXiv 2305.18290)."""
    label_smoothing: float = 0.0
    """How often a pair is taken to be judged the wrong way around."""


@config
class IpoConfig:
    """Identity preference optimization."""

    name: Literal["ipo"] = "ipo"
    tau: float = 0.1
    """Strength of the pull to the reference, a token (arXiv 2310.12036)."""


PreferenceLoss = Annotated[DpoConfig | IpoConfig, pydantic.Field(discriminator="name")]


@config
class PreferenceTuningConfig:
    """Training on pairs."""

    loop: LoopConfig
    """Rows are answers: two of them are a pair."""
    row_length_tokens: int
    """Of prompt and answer together; longer pairs are left out, and counted."""
    loss: PreferenceLoss = DpoConfig()

    def __post_init__(self) -> None:
        check_rows_of_pairs(self.loop)


def tune_preferences(
    config: PreferenceTuningConfig,
    model: Transformer,
    pairs: Sequence[PreferencePair],
    tokenizer: Tokenizer,
    workspace: Workspace,
    key: PRNGKeyArray,
) -> Transformer:
    """Train the model on pairs; as it is, it is the reference. Errors: as `load_pairs`, and those of the loop."""
    laid_out, length = lay_out(pairs, tokenizer, config.row_length_tokens), config.row_length_tokens
    loader = load_pairs(workspace.name, config.loop, laid_out, length, seed_from(key), partial(_batch, length))
    for record in train(config.loop, _loss_of(config.loss), model, model, loader, workspace, key):
        model = record.params
    trained: Transformer = gather(model)
    return trained


def _batch(row_length_tokens: int, chosen: Sequence[SpelledPair]) -> PairBatch:
    encoded, pairs = zip(*chosen, strict=True)
    # Neither loss knows of levels.
    return pair_rows(encoded, pairs, [1.0] * len(pairs), [0.0] * len(pairs), row_length_tokens)


def _loss_of(config: PreferenceLoss) -> LossFunction[Transformer]:
    def of_batch(
        model: Transformer, reference: Transformer, pairs: PairBatch, key: PRNGKeyArray, execution: Execution
    ) -> LossSums:
        chosen, rejected = _answer_sums(model, pairs, execution)
        log_probs = PairLogProbs(chosen, rejected, *jax.lax.stop_gradient(_answer_sums(reference, pairs, execution)))
        if isinstance(config, DpoConfig):
            return dpo_loss(log_probs, beta=config.beta, label_smoothing=config.label_smoothing)
        return ipo_loss(log_probs, tau=config.tau)

    return of_batch


def _answer_sums(model: Transformer, pairs: PairBatch, execution: Execution) -> tuple[AnswerSums, AnswerSums]:
    """Of the better answers, and of the others."""
    hidden = last_hidden(model, pairs.batch, execution)
    mask = jnp.asarray(pairs.batch.loss_weights) != 0
    log_probs = answer_log_probs(hidden, model.embedding, jnp.asarray(pairs.batch.targets), mask).log_probs
    return sum_answers(log_probs[::2], mask[::2]), sum_answers(log_probs[1::2], mask[1::2])
