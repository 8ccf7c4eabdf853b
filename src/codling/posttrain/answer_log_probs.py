"""Log-probabilities of answers' tokens, from hidden states and the tied embedding, a chunk of tokens at a time.

Where this sits in the recipe: DPO, IPO and online training all start from these. The logits of a whole batch (tokens x
vocabulary) are never alive, as in `train.loss`; but what comes out here is a figure for each token, whose gradient is
known only later. So the backward pass computes each chunk's logits again: the price is a second run of the head.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from codling.train.loss import CHUNK_LENGTH_TOKENS


class TokenLogProbs(NamedTuple):
    """Figures a token, in nats, float32; exactly zero, as is their gradient, where the mask is off."""

    log_probs: Float[Array, "B T"]
    entropies: Float[Array, "B T"] | None
    """Of the whole distribution at each place; none: not asked for."""


class AnswerSums(NamedTuple):
    """What a row's answer adds up to."""

    log_prob: Float[Array, " B"]
    """Sum over the answer's tokens, in nats: the log-probability of the answer as one action."""
    num_tokens: Float[Array, " B"]


def answer_log_probs(
    hidden: Float[Array, "B T D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    *,
    with_entropies: bool = False,
    chunk_length_tokens: int = CHUNK_LENGTH_TOKENS,
) -> TokenLogProbs:
    """log softmax(hidden embedding^T)[target] for the tokens of the mask, differentiable in hidden and embedding.

    Shapes: hidden state t predicts target t; the mask is on where the target belongs to the answer, its end included.
    Tokens that are off are sorted behind the others, and a chunk of nothing else is passed over: the head runs over
    answers, not over prompts. `chunk_length_tokens` times the vocabulary is what is alive at once.
    """
    num_rows, num_places = targets.shape
    flat_hidden, flat_targets, flat_mask = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1), mask.reshape(-1)
    num_tokens = num_rows * num_places
    num_chunks = -(-num_tokens // chunk_length_tokens)
    chunk_length = -(-num_tokens // num_chunks)
    order = jnp.argsort(~flat_mask, stable=True)
    # Places beyond the last token read zeros, and are off.
    beyond = jnp.arange(num_tokens, num_chunks * chunk_length)
    chunks = jnp.concatenate([order, beyond]).reshape(num_chunks, chunk_length)

    def of_chunk(places: Int[Array, " C"]) -> tuple[Float[Array, " C"], Float[Array, " C"]]:
        hidden_CD = flat_hidden.at[places].get(mode="fill", fill_value=0)
        targets_C = flat_targets.at[places].get(mode="fill", fill_value=0)
        logits_CV = jnp.einsum("cd,vd->cv", hidden_CD, embedding.astype(hidden.dtype)).astype(jnp.float32)
        log_probs_CV = jax.nn.log_softmax(logits_CV, axis=-1)
        picked = jnp.take_along_axis(log_probs_CV, targets_C[:, None], axis=-1)[:, 0]
        if not with_entropies:
            return picked, jnp.zeros_like(picked)
        return picked, -jnp.sum(jnp.exp(log_probs_CV) * log_probs_CV, axis=-1)

    @jax.checkpoint
    def step(_: None, places: Int[Array, " C"]) -> tuple[None, tuple[Float[Array, " C"], Float[Array, " C"]]]:
        is_on = flat_mask.at[places].get(mode="fill", fill_value=False)
        nothing = (jnp.zeros(chunk_length, jnp.float32), jnp.zeros(chunk_length, jnp.float32))
        figures = jax.lax.cond(jnp.any(is_on), lambda: of_chunk(places), lambda: nothing)
        log_probs, entropies = (jnp.where(is_on, figure, 0.0) for figure in figures)
        return None, (log_probs, entropies)

    _, sorted_figures = jax.lax.scan(step, None, chunks)
    place = jnp.argsort(order)
    log_probs, entropies = (
        figure.reshape(-1)[:num_tokens][place].reshape(num_rows, num_places) for figure in sorted_figures
    )
    return TokenLogProbs(log_probs, entropies if with_entropies else None)


def sum_answers(log_probs: Float[Array, "B T"], mask: Bool[Array, "B T"]) -> AnswerSums:
    """Add up each row's answer. One mask for every row's own prompt: no row is masked by another's."""
    return AnswerSums(jnp.sum(jnp.where(mask, log_probs, 0.0), axis=-1), jnp.sum(mask, axis=-1).astype(log_probs.dtype))
