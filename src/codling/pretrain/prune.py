"""Pruning the feed-forward hidden dimension of a trained parent (arXiv 2407.21075 section 2.2.2).

As in the report, a Soft-Top-K mask over the hidden units of each layer is learned on the core mixture, ever harder, and
then folded into smaller matrices; `method` has simpler choices to compare with. The weights are trained along with the
mask, as in arXiv 1910.04732 and 2310.06694, from which the report starts; whether the report's are is unknown.

Measured beside the model that comes out: the parent with its own weights and the chosen units, and the same with random
ones. These two differ in the choice alone.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Float, PRNGKeyArray

from codling.artifact.model_files import load_model, save_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import build_loader
from codling.data.pack import PackedRows
from codling.data.prepare import open_corpus
from codling.errors import UserError
from codling.evaluate.heldout import HELDOUT_BATCH_ROWS, heldout_figures
from codling.evaluate.score import first_rows
from codling.model.count import count_parameters
from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.pretrain.anneal import AnnealConfig, AnnealedBatch, AnnealedLoader, temperatures
from codling.pretrain.text_stage import TextStageConfig
from codling.pretrain.unit_mask import ScoredModel, best_units, fold, keep_units, mask_without
from codling.pretrain.unit_scores import Method, Share, unit_scores
from codling.train.loop import rows_of_process, train
from codling.train.loss import LossSums
from codling.train.objective import next_token
from codling.train.sharding import gather


@config
class MaskConfig:
    """How the mask of `soft_topk` is learned."""

    anneal: AnnealConfig = AnnealConfig()
    """Temperatures, in the unit of the scores, which start with a standard deviation of 1 in each layer."""
    start: Method = Method.CONTRIBUTION
    """What the scores start from (unknown in the report)."""
    score_rate: float = 10.0
    """Learning rate of the scores over that of the weights. Ours (unknown in the report)."""
    trains_weights: bool = True
    """Whether the weights are trained along with the mask. Ours: without, the loss after the same number of tokens was
    higher, then and later (`bench/results/LOG.md`)."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "MaskConfig":
        if self.start is Method.SOFT_TOPK:
            raise ValueError("start: the mask's scores cannot start from themselves; name another method")
        if self.score_rate <= 0:
            raise ValueError(f"score_rate must be positive, got {self.score_rate}")
        return self


@config
class PruneConfig:
    """How far to prune, by which choice, and what the choice may read."""

    ffn_dim: int
    """Hidden units that each layer keeps."""
    text: TextStageConfig
    """The core mixture, and the loop in which `soft_topk` learns its mask. Other methods do not train."""
    method: Method = Method.SOFT_TOPK
    mask: MaskConfig = MaskConfig()
    calibration_rows_per_kind: int = 16
    """Training rows of each kind that activations are measured on."""


def run_prune(config: PruneConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Make a narrower model of the parent. Inputs: tokens, parent."""
    parent = load_model(inputs["parent"].path)
    if not 0 < config.ffn_dim < parent.config.ffn_dim:
        raise UserError(
            f"{out.name}: ffn_dim is {config.ffn_dim}; it must be below the parent's {parent.config.ffn_dim}"
        )
    corpus = open_corpus(inputs["tokens"].path)
    length = config.text.sequence_length_tokens
    rows = corpus.training_rows(config.text.mixture, row_length_tokens=length, seed=config.text.data_seed)
    lots_key, training_key = jax.random.split(key)

    def scores(method: Method) -> Float[Array, "L F"]:
        return unit_scores(method, parent, _sample(config, rows), lots_key)

    learned: dict[str, Any] = {}
    if config.method is Method.SOFT_TOPK:
        scored = _learn_mask(config, parent, scores(config.mask.start), rows, out, training_key)
        mask = scored.mask(jnp.float32(config.mask.anneal.end_temperature))
        units = best_units(mask, config.ffn_dim)
        pruned = fold(scored.model, mask, units)
        learned = {"num_tokens": config.text.num_tokens, "largest_mask_cut": float(mask_without(mask, units).max())}
    else:
        units = best_units(scores(config.method), config.ffn_dim)
        pruned = keep_units(parent, units)
    save_model(out.path, pruned, tokenizer_sha256=corpus.tokenizer.sha256)
    random_units = best_units(scores(Method.RANDOM), config.ffn_dim)
    measure = partial(
        heldout_figures, corpus=corpus, row_length_tokens=length, rows_per_kind=config.text.heldout_rows_per_kind
    )
    return learned | {
        "method": config.method.value,
        "heldout_before": measure(parent),
        "heldout_after": measure(pruned),
        "heldout_chosen_units": measure(keep_units(parent, units)),
        "heldout_random_units": measure(keep_units(parent, random_units)),
        "num_parameters_before": count_parameters(parent.config).total,
        "num_parameters_after": count_parameters(pruned.config).total,
    }


def _sample(config: PruneConfig, rows: dict[str, PackedRows]) -> Iterator[Share]:
    for kind, share in config.text.mixture.rows_per_period().items():
        yield Share(share, first_rows(rows[kind], config.calibration_rows_per_kind, HELDOUT_BATCH_ROWS))


def _learn_mask(
    config: PruneConfig,
    parent: Transformer,
    start: Float[Array, "L F"],
    rows: dict[str, PackedRows],
    out: Workspace,
    key: PRNGKeyArray,
) -> ScoredModel:
    text, rate = config.text, config.mask.score_rate
    standard = (start - start.mean(axis=1, keepdims=True)) / start.std(axis=1, keepdims=True)
    scored = ScoredModel(standard / rate, parent, config.ffn_dim, rate)
    is_trained = jax.tree.map(lambda _: config.mask.trains_weights, scored)
    is_trained = eqx.tree_at(lambda tree: tree.scores, is_trained, True)
    params, frozen = eqx.partition(scored, is_trained)
    part = rows_of_process(text.loop, parent.config, text.sequence_length_tokens)
    with build_loader(rows, text.mixture, batch_size_rows=text.loop.batch_size_rows, part=part) as loader:
        annealed = AnnealedLoader(loader, temperatures(config.mask.anneal, text.loop.num_steps))
        for record in train(text.loop, masked_loss, params, frozen, annealed, out, key):
            params = record.params
    learned: ScoredModel = eqx.combine(gather(params), frozen)
    return learned


def masked_loss(
    params: ScoredModel, frozen: ScoredModel, batch: AnnealedBatch, key: PRNGKeyArray, execution: Execution
) -> LossSums:
    """The plain objective of the model under its mask."""
    return next_token(eqx.combine(params, frozen).masked(batch.temperature[0]), batch.rows, execution)
