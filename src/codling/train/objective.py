"""What the stages minimize: a batch, a model, perhaps a teacher, in; loss sums out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from codling.data.loader import Batch
from codling.model.transformer import Transformer
from codling.train.loss import (
    LabelTargets,
    LossSums,
    TeacherTargets,
    TokenLoss,
    cross_entropy,
    head_loss,
    teacher_divergence,
    top1_distillation,
)

Z_LOSS = 1e-6
"""AXLearn's weight of the squared normalizer."""


def next_token(model: Transformer, batch: Batch) -> LossSums:
    """Cross-entropy of the next token, with z-loss."""
    hidden = last_hidden(model, batch)
    targets = LabelTargets(_flat(batch.targets))
    loss = partial(cross_entropy, z_loss=Z_LOSS)
    return head_loss(loss, hidden, model.embedding, targets, None, _flat(batch.loss_weights))


def distilled(model: Transformer, teacher: Transformer, batch: Batch, *, teacher_weight: float) -> LossSums:
    """Cross-entropy against the teacher's first choice and the label (arXiv 2407.21075 section 2.2.2)."""
    return _with_teacher(
        partial(top1_distillation, teacher_weight=teacher_weight, z_loss=Z_LOSS), model, teacher, batch
    )


def matched(model: Transformer, teacher: Transformer, batch: Batch) -> LossSums:
    """Divergence from the teacher's whole distribution."""
    return _with_teacher(teacher_divergence, model, teacher, batch)


def _with_teacher(loss: TokenLoss, model: Transformer, teacher: Transformer, batch: Batch) -> LossSums:
    teacher_hidden = jax.lax.stop_gradient(last_hidden(teacher, batch))
    targets = TeacherTargets(_flat(batch.targets), teacher_hidden)
    weights = _flat(batch.loss_weights)
    return head_loss(loss, last_hidden(model, batch), model.embedding, targets, teacher.embedding, weights)


def last_hidden(model: Transformer, batch: Batch) -> Float[Array, "T D"]:
    """The model's output for every token of a batch of packed rows, flat."""
    hidden = model(
        jnp.asarray(batch.tokens),
        jnp.asarray(batch.positions),
        jnp.asarray(batch.segment_ids),
        rope_theta=model.config.rope_theta,
        unroll=_is_unrolling_faster(model),
    )
    return hidden.reshape(-1, hidden.shape[-1])


def _is_unrolling_faster(model: Transformer) -> bool:
    # Measured on two cores: a straight program runs faster; with many layers its compilation costs more
    # than that.
    return jax.default_backend() == "cpu" and model.config.num_layers <= 12


def _flat(x: Array | np.ndarray) -> Array:
    return jnp.asarray(x).reshape(-1)
