"""Pruning the feed-forward hidden dimension of a trained parent (arXiv 2407.21075 section 2.2.2).

The report learns a Soft-Top-K mask. Here a unit's score is the mean size of what it adds to the residual stream,
E|h_f| * ||down[:, f]||, over a calibration sample of the core mixture; the best of each layer stay. The stage measures
the same model with random units kept as the control.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from codling.artifact.model_files import load_model, save_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import Batch
from codling.data.prepare import open_corpus
from codling.errors import UserError
from codling.evaluate.heldout import HELDOUT_BATCH_ROWS, heldout_figures
from codling.evaluate.score import first_rows
from codling.model.block import Block
from codling.model.count import count_parameters
from codling.model.packed_rows import PackedRows
from codling.model.rope import rotary
from codling.model.transformer import Transformer
from codling.pretrain.text_stage import TextStageConfig


@config
class PruneConfig:
    """How far to prune, and on what text the units are scored."""

    ffn_dim: int
    """Hidden units that each layer keeps."""
    text: TextStageConfig
    """The core mixture; of its loop nothing is used but the batch size."""
    calibration_rows_per_kind: int = 16
    """Training rows of each kind that the units are scored on."""


def run_prune(config: PruneConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Make a narrower model of the parent. Inputs: tokens, parent."""
    parent = load_model(inputs["parent"].path)
    if not 0 < config.ffn_dim < parent.config.ffn_dim:
        raise UserError(
            f"{out.name}: ffn_dim is {config.ffn_dim}; it must be below the parent's {parent.config.ffn_dim}"
        )
    corpus = open_corpus(inputs["tokens"].path)
    length = config.text.sequence_length_tokens
    scores = jnp.zeros((parent.config.num_layers, parent.config.ffn_dim))
    rows = corpus.training_rows(config.text.mixture, row_length_tokens=length, seed=0)
    for kind in rows:
        share = config.text.mixture.rows_per_period()[kind]
        for batch in first_rows(rows[kind], config.calibration_rows_per_kind, HELDOUT_BATCH_ROWS):
            scores += share * unit_scores(parent, batch)
    pruned = keep_units(parent, best_units(scores, config.ffn_dim))
    random_scores = jax.random.uniform(key, scores.shape)
    control = keep_units(parent, best_units(random_scores, config.ffn_dim))
    save_model(out.path, pruned, tokenizer_sha256=corpus.tokenizer.sha256)
    measured = {"parent": parent, "pruned": pruned, "random_units": control}
    rows_per_kind = config.text.heldout_rows_per_kind
    figures = {
        name: heldout_figures(model, corpus, row_length_tokens=length, rows_per_kind=rows_per_kind)
        for name, model in measured.items()
    }
    return {
        "heldout_before": figures["parent"],
        "heldout_after": figures["pruned"],
        "heldout_random_units": figures["random_units"],
        "num_parameters_before": count_parameters(parent.config).total,
        "num_parameters_after": count_parameters(pruned.config).total,
    }


@eqx.filter_jit
def unit_scores(model: Transformer, batch: Batch) -> Float[Array, "L F"]:
    """Sum over the tokens of a batch of |h_f| * ||down[:, f]||, for every hidden unit of every layer."""
    tokens, positions, segment_ids = (jnp.asarray(x) for x in (batch.tokens, batch.positions, batch.segment_ids))
    angles = rotary(positions, model.config.head_dim, model.config.rope_theta)
    rows = PackedRows(segment_ids)

    def layer(x: Array, block: Block) -> tuple[Array, Array]:
        attended, _ = block.attention(block.attention_norm(x), angles, rows)
        x = x + attended
        units = block.feed_forward.hidden_units(block.feed_forward_norm(x))
        size = jnp.linalg.norm(block.feed_forward.down.weight, axis=0)
        is_text = (segment_ids > 0).astype(units.dtype)
        score = jnp.einsum("btf,bt->f", jnp.abs(units), is_text) * size
        return x + block.feed_forward.down(units), score

    _, scores = jax.lax.scan(layer, model.embedding[tokens], model.blocks)
    return scores


def best_units(scores: Float[Array, "L F"], count: int) -> Int[Array, "L k"]:
    """The units of largest score in each layer, in their old order."""
    return jnp.sort(jnp.argsort(-scores, axis=-1)[:, :count], axis=-1)


def keep_units(model: Transformer, units: Int[Array, "L k"]) -> Transformer:
    """Cut every other hidden unit out of gate, up and down."""
    ffn = model.blocks.feed_forward
    narrow = {
        "gate": jnp.take_along_axis(ffn.gate.weight, units[:, :, None], axis=1),
        "up": jnp.take_along_axis(ffn.up.weight, units[:, :, None], axis=1),
        "down": jnp.take_along_axis(ffn.down.weight, units[:, None, :], axis=2),
    }
    model = eqx.tree_at(
        lambda m: tuple(getattr(m.blocks.feed_forward, name).weight for name in narrow), model, tuple(narrow.values())
    )
    return replace(model, config=replace(model.config, ffn_dim=units.shape[1]))
