"""Generation with a key/value cache: a batch of prompts in one program, or token by token for a chat."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from codling.model.answer_cache import AnswerCache, answer_caches
from codling.model.kv_cache import KVCache, empty_cache
from codling.model.transformer import Transformer


class Sampling(NamedTuple):
    """How the next token is drawn."""

    temperature: float = 0.0
    """Divides the logits; 0 takes the most likely token."""
    top_p: float = 1.0
    """Draw only from the smallest set of tokens whose probabilities reach top_p (arXiv 1904.09751)."""


class Generated(NamedTuple):
    """The answers of a batch."""

    tokens: Int[Array, "B M"]
    lengths_tokens: Int[Array, " B"]
    """Tokens of each answer, its stop token included; what lies after is zero."""
    log_probs: Float[Array, "B M"]
    """Of each token under the model itself, at temperature 1 and with nothing left out; zero after the answer."""


class _Loop(NamedTuple):
    num_drawn: Int[Array, ""]
    logits: Float[Array, "B V"]
    caches: list[AnswerCache]
    generated: Generated
    is_done: Bool[Array, " B"]


def sample(logits: Float[Array, "B V"], keys: Key[Array, " B"], sampling: Sampling) -> Int[Array, " B"]:
    """Draw one token a row; each row has a key of its own, so its draw does not depend on its neighbors."""
    if sampling.temperature == 0.0:
        return _first_largest(logits)
    scaled = logits.astype(jnp.float32) / sampling.temperature
    if sampling.top_p < 1.0:
        scaled = _keep_top_p(scaled, sampling.top_p)
    # As `jax.random.categorical`, whose argmax keeps a CPU from working on several numbers at once.
    noise = jax.vmap(lambda key: jax.random.gumbel(key, scaled.shape[1:], scaled.dtype))(keys)
    return _first_largest(jax.lax.optimization_barrier(scaled + noise))  # type: ignore[no-untyped-call]


def _first_largest(values: Float[Array, "B V"]) -> Int[Array, " B"]:
    """The place of the first maximum; a maximum and a minimum are several times as fast as an argmax on a CPU."""
    places = jnp.arange(values.shape[-1], dtype=jnp.int32)[None]
    is_largest = values == jnp.max(values, axis=-1, keepdims=True)
    return jnp.min(jnp.where(is_largest, places, values.shape[-1] - 1), axis=-1)


def _keep_top_p(logits: Float[Array, "B V"], top_p: float) -> Float[Array, "B V"]:
    descending = jnp.sort(logits, axis=-1, descending=True)
    probabilities = jax.nn.softmax(descending, axis=-1)
    # A token stays while the mass before it is below top_p: the first one always does.
    is_kept = jnp.cumsum(probabilities, axis=-1) - probabilities < top_p
    threshold = jnp.min(jnp.where(is_kept, descending, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits >= threshold, logits, -jnp.inf)


@eqx.filter_jit
def extend_cache(
    model: Transformer, cache: KVCache, tokens: Int[Array, "B T"], lengths_tokens: Int[Array, " B"]
) -> tuple[Float[Array, "B V"], KVCache]:
    """Run the first lengths_tokens[b] tokens of each row: logits after the last, and the cache moved on."""
    hidden, cache = model.extend(tokens, cache, rope_theta=model.config.rope_theta)
    last = jnp.take_along_axis(hidden, (lengths_tokens - 1)[:, None, None], axis=1)[:, 0]
    moved = KVCache(cache.keys, cache.values, cache.positions + lengths_tokens[None, :])
    return model.logits(last), moved


@eqx.filter_jit
def generate(
    model: Transformer,
    prompts: Int[Array, "B T"],
    lengths_tokens: Int[Array, " B"],
    key: PRNGKeyArray,
    *,
    max_new_tokens: int,
    stop_ids: tuple[int, ...],
    sampling: Sampling,
) -> Generated:
    """Answer prompts that are padded on the right to T tokens, until each has met a stop token or the limit.

    One compilation for each pair (T, max_new_tokens): callers round T up to a few sizes. The caller sees to
    it that T + max_new_tokens fits the model's context.
    """
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(prompts.shape[0]))
    return answer(
        model,
        prompts,
        lengths_tokens,
        keys[:, None],
        max_new_tokens=max_new_tokens,
        stop_ids=stop_ids,
        sampling=sampling,
    )


def answer(
    model: Transformer,
    prompts: Int[Array, "P T"],
    lengths_tokens: Int[Array, " P"],
    keys: Key[Array, "P A"],
    *,
    max_new_tokens: int,
    stop_ids: tuple[int, ...],
    sampling: Sampling,
) -> Generated:
    """Give A answers to each of P prompts, drawn by the A keys of each: rows a of prompt p are B = p * A + a.

    A prompt is run once, whatever A is. To be called in a compiled program; otherwise as `generate`.
    """
    num_answers, stops = keys.shape[1], jnp.asarray(stop_ids, jnp.int32)
    cache = empty_cache(model.config, prompts.shape[0], prompts.shape[1], model.embedding.dtype)
    logits, cache = extend_cache(model, cache, prompts, lengths_tokens)
    logits = jnp.repeat(logits, num_answers, axis=0)
    begins = jnp.repeat(lengths_tokens, num_answers)
    row_keys, batch_size = keys.reshape(-1), keys.size

    def step(loop: _Loop) -> _Loop:
        keys = jax.vmap(lambda row_key: jax.random.fold_in(row_key, loop.num_drawn))(row_keys)
        drawn = jnp.where(loop.is_done, 0, sample(loop.logits, keys, sampling))
        generated = _append(loop, drawn)
        is_done = loop.is_done | jnp.any(drawn[:, None] == stops[None, :], axis=1)
        hidden, caches = model.extend_layers(
            drawn[:, None], (begins + loop.num_drawn)[:, None], loop.caches, rope_theta=model.config.rope_theta
        )
        return _Loop(loop.num_drawn + 1, model.logits(hidden[:, 0]), caches, generated, is_done)

    def is_going_on(loop: _Loop) -> Bool[Array, ""]:
        return (loop.num_drawn < max_new_tokens) & ~jnp.all(loop.is_done)

    nothing = Generated(
        jnp.zeros((batch_size, max_new_tokens), jnp.int32),
        jnp.zeros(batch_size, jnp.int32),
        jnp.zeros((batch_size, max_new_tokens)),
    )
    caches = answer_caches(cache, num_answers, max_new_tokens)
    start = _Loop(jnp.zeros((), jnp.int32), logits, caches, nothing, jnp.zeros(batch_size, bool))
    return jax.lax.while_loop(is_going_on, step, start).generated


def _append(loop: _Loop, drawn: Int[Array, " B"]) -> Generated:
    """The answers with one token more; rows that are done stay as they are."""
    logits = loop.logits.astype(jnp.float32)
    log_probs = jnp.take_along_axis(logits, drawn[:, None], axis=1)[:, 0] - jax.nn.logsumexp(logits, axis=1)
    before, place = loop.generated, (slice(None), loop.num_drawn)
    return Generated(
        before.tokens.at[place].set(drawn),
        before.lengths_tokens + jnp.where(loop.is_done, 0, 1),
        before.log_probs.at[place].set(jnp.where(loop.is_done, 0.0, log_probs)),
    )
