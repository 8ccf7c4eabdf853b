"""Keys and values for many answers to each prompt: the prompt's once, each answer's own beside them.

With a `KVCache` for every answer the prompt's keys would be kept, and read at every token, once an answer. Here all
queries of a prompt's answers meet them in one matrix product. What an answer adds is written into the arrays where they
lie, so that a token costs what it reads and never a copy of the cache.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from codling.model.attention import Context
from codling.model.kv_cache import KVCache


class AnswerCache(Context):
    """Of one layer, for A answers to each of P prompts: answer a to prompt p is row p * A + a of B = P * A.

    All answers have the same number of tokens. Keys have the tokens last, values the head dimension, which is how
    either is read.
    """

    prompt_keys: Float[Array, "P K S H"]
    prompt_values: Float[Array, "P K S H"]
    prompt_lengths: Int[Array, " P"]
    keys: Float[Array, "P K A H M"]
    values: Float[Array, "P K A M H"]
    num_tokens: Int[Array, ""]
    """Of each answer: where the next one is written."""

    def attend(
        self, queries: Float[Array, "B 1 N H"], keys: Float[Array, "B 1 K H"], values: Float[Array, "B 1 K H"]
    ) -> tuple[Float[Array, "B 1 N H"], "AnswerCache"]:
        """Add one token to each answer; it sees the prompt and its own answer up to itself."""
        num_prompts, num_kv, num_answers, head_dim, num_slots = self.keys.shape

        def by_prompt(x: Array) -> Array:
            split = x.reshape(num_prompts, num_answers, num_kv, -1, head_dim)
            return split.transpose(0, 2, 1, 3, 4)

        all_keys = _write(self.keys, by_prompt(keys).swapaxes(3, 4), self.num_tokens, axis=4)
        all_values = _write(self.values, by_prompt(values), self.num_tokens, axis=3)
        scaled = by_prompt(queries * (1.0 / math.sqrt(head_dim)))
        scores = (
            _visible(
                jnp.einsum("pkagh,pksh->pkags", scaled, self.prompt_keys),
                jnp.arange(self.prompt_keys.shape[2])[None] < self.prompt_lengths[:, None],
            ),
            _visible(
                jnp.einsum("pkagh,pkahm->pkagm", scaled, all_keys), jnp.arange(num_slots)[None] <= self.num_tokens
            ),
        )
        # One softmax over both parts, without putting them side by side.
        peak = jnp.maximum(*(jnp.max(part, axis=-1, keepdims=True) for part in scores))
        of_prompt, of_answer = (jnp.exp(part - peak) for part in scores)
        total = jnp.sum(of_prompt, axis=-1, keepdims=True) + jnp.sum(of_answer, axis=-1, keepdims=True)
        summed = jnp.einsum("pkags,pksh->pkagh", of_prompt.astype(values.dtype), self.prompt_values)
        summed += jnp.einsum("pkagm,pkamh->pkagh", of_answer.astype(values.dtype), all_values)
        attended = (summed / total.astype(values.dtype)).transpose(0, 2, 1, 3, 4).reshape(queries.shape)
        grown = AnswerCache(
            self.prompt_keys, self.prompt_values, self.prompt_lengths, all_keys, all_values, self.num_tokens + 1
        )
        return attended, grown


def answer_caches(prompts: KVCache, num_answers: int, max_answer_tokens: int) -> list[AnswerCache]:
    """Caches for answers to what a cache of all layers holds, a layer each."""

    def of_layer(cache: KVCache) -> AnswerCache:
        keys, values = (slots.swapaxes(1, 2) for slots in (cache.keys, cache.values))
        num_prompts, num_kv, _, head_dim = keys.shape
        shape = num_prompts, num_kv, num_answers
        return AnswerCache(
            keys,
            values,
            cache.positions,
            jnp.zeros((*shape, head_dim, max_answer_tokens), keys.dtype),
            jnp.zeros((*shape, max_answer_tokens, head_dim), values.dtype),
            jnp.zeros((), jnp.int32),
        )

    # Arrays of their own and not one of all layers: only so are they written in place.
    return [of_layer(jax.tree.map(lambda leaf, n=n: leaf[n], prompts)) for n in range(prompts.positions.shape[0])]


def _visible(scores: Float[Array, "P K A G S"], mask: Array) -> Float[Array, "P K A G S"]:
    return jnp.where(mask[:, None, None, None], scores.astype(jnp.float32), np.finfo(np.float32).min)


def _write(slots: Array, new: Array, place: Int[Array, ""], *, axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(slots, new, place, axis)
