"""A model whose feed-forward hidden units pass through a learned mask, and the smaller model that it becomes.

Before:  FeedForward(gate, up, down=Linear(W))
Masked:  FeedForward(gate, up, down=MaskedLinear(base=Linear(W), mask=m))   y = (h * m) W^T
Folded:  the kept rows of gate and up, the kept columns of W, each times its m
"""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from codling.model.linear import Linear
from codling.model.transformer import Transformer
from codling.pretrain.soft_topk import soft_topk


class MaskedLinear(eqx.Module):
    """y = base(x * mask)."""

    base: Linear
    mask: Float[Array, "*L I"]

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Apply mask and layer to the last axis of x."""
        return self.base(jnp.einsum("...i,i->...i", x, self.mask.astype(x.dtype)))


class ScoredModel(eqx.Module):
    """A model, and a score for each of its hidden units. Either may be None in a part that is split off."""

    scores: Float[Array, "L F"] | None
    model: Transformer
    num_kept: int = eqx.field(static=True)
    """Hidden units that the mask of a layer sums to."""
    score_rate: float = eqx.field(static=True)
    """The scores' learning rate over that of the weights: what is trained is the scores divided by it."""

    def mask(self, temperature: Float[Array, ""]) -> Float[Array, "L F"]:
        """The mask at a temperature, in the unit of the scores."""
        assert self.scores is not None
        return soft_topk(self.scores * self.score_rate, self.num_kept, temperature)

    def masked(self, temperature: Float[Array, ""]) -> Transformer:
        """The model with its mask in place."""
        down = MaskedLinear(self.model.blocks.feed_forward.down, self.mask(temperature))
        model: Transformer = eqx.tree_at(lambda model: model.blocks.feed_forward.down, self.model, down)
        return model


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


def mask_without(mask: Float[Array, "L F"], units: Int[Array, "L k"]) -> Float[Array, "L F"]:
    """The mask with 0 at these units: what cutting all others takes away."""
    return jnp.put_along_axis(mask, units, 0.0, axis=1, inplace=False)


def fold(model: Transformer, mask: Float[Array, "L F"], units: Int[Array, "L k"]) -> Transformer:
    """The smaller model of these units, what is left of their mask multiplied into `down`.

    Equals the masked model to rounding once the mask of all other units is nothing.
    """
    down = model.blocks.feed_forward.down.weight * mask[:, None, :]
    model = eqx.tree_at(lambda m: m.blocks.feed_forward.down.weight, model, down)
    return keep_units(model, units)
