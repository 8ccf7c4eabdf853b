"""Dropout of what a layer adds to the residual stream (arXiv 1207.0580), in training and never in generation.

Source: the report gives a rate and no places (arXiv 2407.21075 section 4.1). AXLearn, in which it was trained, has a
dropout on the output of attention and one on the output of the feed-forward layer, each before the sum with the
residual stream (`dropout` of its TransformerAttentionLayer and `dropout2` of its TransformerFeedForwardLayer, prenorm):
https://github.com/apple/axlearn/blob/34aed43c1b6e581c4753d06d7cbeedd5010ef26b/axlearn/common/attention.py#L2957
Differs: a rate that is set for a whole decoder of AXLearn's also drops attention weights, which our kernels never hold,
hidden units of the feed-forward layer, embeddings and the decoder's output. Those stay whole here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

ATTENTION, FEED_FORWARD = range(2)
"""The two places of a layer."""


class Dropout(eqx.Module):
    """How much is dropped, and the randomness that decides what."""

    key: Key[Array, "*L"]
    """Of a batch; stacked like the layers, after `of_layers`."""
    rate: float = eqx.field(static=True)
    """Share of the elements that become zero, at least 0 and below 1."""


def of_layers(dropout: Dropout | None, num_layers: int) -> Dropout | None:
    """A key for each layer, to be scanned along; none stays none."""
    return None if dropout is None else Dropout(jax.random.split(dropout.key, num_layers), dropout.rate)


def drop(x: Float[Array, "*B"], dropout: Dropout | None, place: int) -> Float[Array, "*B"]:
    """Zero elements by chance, and divide the others by the share that stays, so that the mean is that of x.

    None: x as it is, and the program that is compiled is the one without dropout.
    Price: a random number an element, drawn again where the layer is computed again.
    """
    if dropout is None:
        return x
    stays = jax.random.bernoulli(jax.random.fold_in(dropout.key, place), 1 - dropout.rate, x.shape)
    return jnp.where(stays, x / (1 - dropout.rate), 0)
