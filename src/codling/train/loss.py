"""Losses over the vocabulary, computed in chunks of tokens.

The logits of a whole batch are the largest array of a training step by far (tokens x vocabulary). They are
never all alive: the head runs over chunks of tokens, and the gradient of a chunk is taken right where its
logits are, in the forward pass, so that nothing of it has to be kept or computed again. Price: a loss that is
not used for training pays nothing, one that is trained pays its gradient even if nobody asks for it
afterwards.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

CHUNK_LENGTH_TOKENS = 512
"""Unless the caller says otherwise: what is fastest on a CPU."""


class LossSums(NamedTuple):
    """Sums, not means: devices and chunks add them up, and one division at the end gives the mean a token."""

    value: Float[Array, ""]
    weight: Float[Array, ""]
    metrics: dict[str, Float[Array, ""]]


TokenLosses = tuple[Float[Array, " C"], dict[str, Float[Array, " C"]]]
"""A loss a token, and further figures a token."""

TokenLoss = Callable[[Float[Array, "C V"], PyTree, PyTree], TokenLosses]
"""(float32 logits of a chunk, the chunk's targets, what all chunks share) -> losses of the chunk."""


class LabelTargets(NamedTuple):
    """What cross-entropy compares with."""

    labels: Int[Array, " C"]


class TeacherTargets(NamedTuple):
    """What distillation compares with: the next token, and the teacher's hidden state that predicts it.

    The teacher's embedding is what all chunks share; its logits exist a chunk at a time, like the student's.
    """

    labels: Int[Array, " C"]
    teacher_hidden: Float[Array, "C Dt"]


class TeacherChoices(NamedTuple):
    """The same where the teacher's first choices were computed before."""

    labels: Int[Array, " C"]
    choices: Int[Array, " C"]


def cross_entropy(
    logits: Float[Array, "C V"], targets: LabelTargets, shared: None, *, z_loss: float = 0.0
) -> TokenLosses:
    """-log softmax(logits)[label] + z_loss * logsumexp(logits)^2, a token.

    z_loss (arXiv 2204.02311 section 5; AXLearn: 1e-6) keeps the normalizer near 1, so that logits do not
    drift.
    """
    normalizer = jax.nn.logsumexp(logits, axis=-1)
    nll = normalizer - _pick(logits, targets.labels)
    return nll + z_loss * jnp.square(normalizer), {"nll": nll}


def top1_distillation(
    logits: Float[Array, "C V"],
    targets: TeacherTargets | TeacherChoices,
    teacher_embedding: Float[Array, "V Dt"] | None,
    *,
    teacher_weight: float,
    z_loss: float = 0.0,
) -> TokenLosses:
    """Cross-entropy against teacher_weight * teacher's top-1 + (1 - teacher_weight) * label, a token.

    Source: arXiv 2407.21075 section 2.2.2 (teacher_weight 0.9). `nll` is that of the label alone, to compare
    runs. The teacher's choice is known already, or is computed here from its hidden state and embedding.
    """
    if isinstance(targets, TeacherChoices):
        choices = targets.choices
    else:
        assert teacher_embedding is not None
        choices = jnp.argmax(jnp.einsum("td,vd->tv", targets.teacher_hidden, teacher_embedding), axis=-1)
    normalizer = jax.nn.logsumexp(logits, axis=-1)
    nll = normalizer - _pick(logits, targets.labels)
    teacher_nll = normalizer - _pick(logits, choices)
    loss = teacher_weight * teacher_nll + (1.0 - teacher_weight) * nll + z_loss * jnp.square(normalizer)
    agreement = (jnp.argmax(logits, axis=-1) == choices).astype(jnp.float32)
    return loss, {"nll": nll, "teacher_agreement": agreement}


def teacher_divergence(
    logits: Float[Array, "C V"], targets: TeacherTargets, teacher_embedding: Float[Array, "V Dt"]
) -> TokenLosses:
    """KL(teacher || student) over the whole vocabulary, a token, in nats: what recovery adapters minimize."""
    teacher_logits = jnp.einsum("td,vd->tv", targets.teacher_hidden, teacher_embedding)
    teacher_log_probs = jax.nn.log_softmax(teacher_logits.astype(jnp.float32), axis=-1)
    log_probs = jax.nn.log_softmax(logits, axis=-1)
    divergence = jnp.sum(jnp.exp(teacher_log_probs) * (teacher_log_probs - log_probs), axis=-1)
    return divergence, {"nll": -_pick(log_probs, targets.labels), "divergence": divergence}


def _pick(values: Float[Array, "C V"], labels: Int[Array, " C"]) -> Float[Array, " C"]:
    return jnp.take_along_axis(values, labels[:, None], axis=-1)[:, 0]


@partial(jax.custom_vjp, nondiff_argnums=(0, 6))
def head_loss(
    token_loss: TokenLoss,
    hidden: Float[Array, "T D"],
    embedding: Float[Array, "V D"],
    targets: PyTree,
    shared: PyTree,
    weights: Float[Array, " T"],
    chunk_length_tokens: int | None = None,
) -> LossSums:
    """Sum token_loss(hidden @ embedding^T, targets, shared) * weights over all tokens, a chunk at a time.

    Shapes: every leaf of `targets` has a leading axis of T; T need not divide into chunks. Tokens of weight zero are
    sorted behind the others, and a chunk of nothing else is passed over: fine-tuning, which learns from the assistant's
    tokens only, pays the head for those only. Only `value` carries a gradient, and only to `hidden` and `embedding`.
    Logits and the sum of the chunks' gradients are float32.
    """

    def step(sums: LossSums, chunk: Array) -> tuple[LossSums, None]:
        tokens = _take((hidden, targets, weights), chunk)
        return jax.lax.cond(
            jnp.any(tokens[2] != 0),
            lambda: _add(sums, _chunk_sums(token_loss, embedding, shared, tokens)),
            lambda: sums,
        ), None

    start = _zero_sums(token_loss, hidden, embedding, targets, shared)
    sums, _ = jax.lax.scan(step, start, _chunks(weights, chunk_length_tokens))
    return sums


def _forward(
    token_loss: TokenLoss,
    hidden: Array,
    embedding: Array,
    targets: PyTree,
    shared: PyTree,
    weights: Array,
    chunk_length_tokens: int | None,
) -> tuple[LossSums, tuple[Array, Array]]:
    def value(hidden_chunk: Array, embedding: Array, rest: Any) -> tuple[Array, LossSums]:
        sums = _chunk_sums(token_loss, embedding, shared, (hidden_chunk, *rest))
        return sums.value, sums

    def step(carry: tuple[LossSums, Array], chunk: Array) -> tuple[tuple[LossSums, Array], Array]:
        sums, embedding_gradient = carry
        hidden_chunk, *rest = _take((hidden, targets, weights), chunk)

        def learn() -> tuple[tuple[LossSums, Array], Array]:
            gradients, chunk_sums = jax.grad(value, argnums=(0, 1), has_aux=True)(hidden_chunk, embedding, rest)
            return (_add(sums, chunk_sums), embedding_gradient + gradients[1].astype(jnp.float32)), gradients[0]

        learned: tuple[tuple[LossSums, Array], Array] = jax.lax.cond(
            jnp.any(rest[1] != 0), learn, lambda: (carry, jnp.zeros_like(hidden_chunk))
        )
        return learned

    chunks = _chunks(weights, chunk_length_tokens)
    start = (_zero_sums(token_loss, hidden, embedding, targets, shared), jnp.zeros(embedding.shape, jnp.float32))
    (sums, embedding_gradient), by_chunk = jax.lax.scan(step, start, chunks)
    place = jnp.argsort(chunks.reshape(-1))[: hidden.shape[0]]
    return sums, (by_chunk.reshape(-1, hidden.shape[1])[place], embedding_gradient.astype(embedding.dtype))


def _backward(
    token_loss: TokenLoss, chunk_length_tokens: int | None, gradients: tuple[Array, Array], cotangent: LossSums
) -> tuple[Any, ...]:
    of_hidden, of_embedding = (gradient * cotangent.value.astype(gradient.dtype) for gradient in gradients)
    return of_hidden, of_embedding, None, None, None


head_loss.defvjp(_forward, _backward)


def _chunk_sums(token_loss: TokenLoss, embedding: Array, shared: PyTree, chunk: Any) -> LossSums:
    hidden, targets, weights = chunk
    logits = jnp.einsum("td,vd->tv", hidden, embedding.astype(hidden.dtype)).astype(jnp.float32)
    losses, metrics = token_loss(logits, targets, shared)
    sums = {name: jnp.sum(value * weights) for name, value in metrics.items()}
    return LossSums(jnp.sum(losses * weights), jnp.sum(weights), jax.lax.stop_gradient(sums))


def _chunks(weights: Float[Array, " T"], chunk_length_tokens: int | None) -> Int[Array, "N C"]:
    """Indices of the tokens, those with weight first; the last chunk is filled up with indices beyond the last."""
    num_tokens = weights.shape[0]
    num_chunks = -(-num_tokens // (chunk_length_tokens or CHUNK_LENGTH_TOKENS))
    chunk_length = -(-num_tokens // num_chunks)
    order = jnp.argsort(weights == 0, stable=True)
    return jnp.concatenate([order, jnp.arange(num_tokens, num_chunks * chunk_length)]).reshape(num_chunks, chunk_length)


def _take(tree: Any, indices: Int[Array, " C"]) -> Any:
    return jax.tree.map(lambda x: x.at[indices].get(mode="fill", fill_value=0), tree)


def _zero_sums(token_loss: TokenLoss, hidden: Array, embedding: Array, targets: PyTree, shared: PyTree) -> LossSums:
    first = jax.tree.map(lambda x: x[:1], (hidden, targets, jnp.ones(hidden.shape[0])))
    shapes = jax.eval_shape(lambda: _chunk_sums(token_loss, embedding, shared, first))
    zeros: LossSums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return zeros


def _add(left: LossSums, right: LossSums) -> LossSums:
    total: LossSums = jax.tree.map(jnp.add, left, right)
    return total
