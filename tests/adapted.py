"""A model with adapters that do something: each stands for what the base lost of another model."""

import jax
import jax.numpy as jnp
import numpy as np

from codling.adapters.lora import LoraLinear
from codling.adapters.low_rank import nearest_low_rank
from codling.model.linear import Linear
from codling.model.transformer import Transformer


def with_residual(base: Transformer, dense: Transformer, rank: int) -> Transformer:
    """The base with adapters of this rank, as near to the dense model as plain decompositions come."""

    def wrap(node: object, target: object) -> object:
        if not isinstance(node, Linear) or not isinstance(target, Linear):
            return node
        layers = [nearest_low_rank(np.asarray(lost), rank) for lost in target.weight - node.weight]
        down, up = (jnp.stack([jnp.asarray(part) for part in parts]) for parts in zip(*layers, strict=True))
        return LoraLinear(node, down, up)

    adapted: Transformer = jax.tree.map(wrap, base, dense, is_leaf=lambda node: isinstance(node, Linear))
    return adapted
