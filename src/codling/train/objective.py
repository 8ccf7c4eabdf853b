"""What the stages minimize: a batch, a model, perhaps a teacher, in; loss sums out."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from codling.data.loader import Batch
from codling.model.dropout import Dropout
from codling.model.embedding import copies
from codling.model.execution import PLAIN, Execution
from codling.model.partition import TOKEN_AXES
from codling.model.transformer import Transformer
from codling.train.loss import (
    LabelTargets,
    LossSums,
    TeacherChoices,
    TeacherTargets,
    TokenLoss,
    cross_entropy,
    head_loss,
    teacher_divergence,
    top1_distillation,
)

ACCELERATOR_CHUNK_LENGTH_TOKENS = 2048
Z_LOSS = 1e-6
"""AXLearn's weight of the squared normalizer."""


def next_token(
    model: Transformer, batch: Batch, execution: Execution = PLAIN, dropout: Dropout | None = None
) -> LossSums:
    """Cross-entropy of the next token, with z-loss."""
    hidden = last_hidden(model, batch, execution, dropout)
    loss = partial(cross_entropy, z_loss=Z_LOSS)
    return _over_rows(loss, hidden, model.embedding, LabelTargets(jnp.asarray(batch.targets)), None, batch, execution)


def distilled(
    model: Transformer, teacher: Transformer, batch: Batch, execution: Execution = PLAIN, *, teacher_weight: float
) -> LossSums:
    """Cross-entropy against the teacher's first choice and the label (arXiv 2407.21075 section 2.2.2)."""
    loss = partial(top1_distillation, teacher_weight=teacher_weight, z_loss=Z_LOSS)
    return _with_teacher(loss, model, teacher, batch, execution)


def distilled_from_choices(
    model: Transformer, choices: Int[Array, "B T"], batch: Batch, execution: Execution = PLAIN, *, teacher_weight: float
) -> LossSums:
    """The same as `distilled`, with the teacher's first choices computed before."""
    loss = partial(top1_distillation, teacher_weight=teacher_weight, z_loss=Z_LOSS)
    targets = TeacherChoices(jnp.asarray(batch.targets), choices)
    hidden = last_hidden(model, batch, execution)
    return _over_rows(loss, hidden, model.embedding, targets, None, batch, execution)


def matched(
    model: Transformer,
    teacher: Transformer,
    batch: Batch,
    execution: Execution = PLAIN,
    *,
    hidden_weight: float = 0.0,
) -> LossSums:
    """Divergence from the teacher's whole distribution; plus, times `hidden_weight`, of the last hidden state.

    That is |h - h_teacher|^2 / |h_teacher|^2, a token.
    """
    sums = _with_teacher(teacher_divergence, model, teacher, batch, execution)
    if hidden_weight == 0:
        return sums
    # The compiler sees that the hidden states are those of above, and computes them once.
    own, theirs = last_hidden(model, batch, execution), jax.lax.stop_gradient(last_hidden(teacher, batch, execution))
    moved = jnp.sum(jnp.square(own - theirs), axis=-1) / jnp.sum(jnp.square(theirs), axis=-1)
    moved_sum = jnp.sum(moved.astype(jnp.float32) * jnp.asarray(batch.loss_weights))
    return LossSums(sums.value + hidden_weight * moved_sum, sums.weight, sums.metrics | {"hidden_moved": moved_sum})


def _with_teacher(
    loss: TokenLoss, model: Transformer, teacher: Transformer, batch: Batch, execution: Execution
) -> LossSums:
    teacher_hidden = jax.lax.stop_gradient(last_hidden(teacher, batch, execution))
    targets = TeacherTargets(jnp.asarray(batch.targets), teacher_hidden)
    hidden = last_hidden(model, batch, execution)
    return _over_rows(loss, hidden, model.embedding, targets, teacher.embedding, batch, execution)


def last_hidden(
    model: Transformer, batch: Batch, execution: Execution = PLAIN, dropout: Dropout | None = None
) -> Float[Array, "B T D"]:
    """The model's output for every token of a batch of packed rows."""
    tokens, positions, segment_ids = (jnp.asarray(x) for x in (batch.tokens, batch.positions, batch.segment_ids))
    theta = model.config.rope_theta
    return model(tokens, positions, segment_ids, rope_theta=theta, execution=execution, dropout=dropout)


def _over_rows(
    loss: TokenLoss,
    hidden: Float[Array, "B T D"],
    embedding: Float[Array, "V D"],
    targets: PyTree,
    shared: PyTree,
    batch: Batch,
    execution: Execution,
) -> LossSums:
    """`head_loss` over the tokens of all rows; on a mesh, over each device's own tokens, and summed."""

    def of_tokens(hidden: Array, embedding: Array, targets: PyTree, shared: PyTree, weights: Array) -> LossSums:
        flat_hidden, flat_targets, flat_weights = jax.tree.map(
            lambda x: x.reshape(-1, *x.shape[2:]), (hidden, targets, weights)
        )
        return head_loss(loss, flat_hidden, embedding, flat_targets, shared, flat_weights, _chunk_length(execution))

    weights = jnp.asarray(batch.loss_weights)
    partition = execution.partition
    if partition is None:
        return of_tokens(hidden, embedding, targets, shared, weights)

    def of_device(hidden: Array, embedding: Array, targets: PyTree, shared: PyTree, weights: Array) -> LossSums:
        embedding, shared = jax.tree.map(lambda copy: copy[0, 0], (embedding, shared))
        sums: LossSums = jax.lax.psum(of_tokens(hidden, embedding, targets, shared, weights), TOKEN_AXES)  # type: ignore[no-untyped-call]
        return sums

    # By hand over the axes that split tokens; the vocabulary's axis is left to the compiler.
    rows, each = partition.spec("rows", "tokens"), partition.spec("slices", "copies")
    sharded = jax.shard_map(
        of_device,
        mesh=partition.mesh,
        in_specs=(rows, each, rows, each, rows),
        out_specs=partition.spec(),
        axis_names=set(TOKEN_AXES),
        check_vma=False,
    )
    hidden = partition.constrain(hidden, "rows", "tokens", None)
    embedding, shared = jax.tree.map(lambda matrix: copies(matrix, partition, execution.dtype), (embedding, shared))
    sums: LossSums = sharded(hidden, embedding, targets, shared, weights)
    return sums


def _chunk_length(execution: Execution) -> int | None:
    if execution.compute.head_chunk_tokens is not None:
        return execution.compute.head_chunk_tokens
    return None if execution.platform == "cpu" else ACCELERATOR_CHUNK_LENGTH_TOKENS
