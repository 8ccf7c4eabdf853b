"""Where a recovery adapter starts: the best low-rank part of what palettization lost, by what it costs the model.

Where in the recipe: after palettization (arXiv 2407.21075 section 5.1; its start is not told there). Three passes over
the blocks of the uncompressed model: forward, for the hidden states; backward, for what an error of each output costs
(`output_importance`); and forward again, for the inputs' second moments (`input_moments`) and the decompositions
(`low_rank`). One block at a time: second moments of all layers would take more memory than the weights.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from codling.adapters.lora import Adaptable, LoraLinear, check_rank, merge
from codling.adapters.low_rank import Factors, nearest_low_rank
from codling.data.loader import Batch
from codling.model.transformer import Transformer
from codling.ondevice.blocks import Blocks
from codling.ondevice.input_moments import advance, block_moments, embed, linears
from codling.ondevice.output_importance import importance_by_layer

NUM_PASSES = 3


class RecoveryStart(enum.StrEnum):
    """What an adapter is before its first step."""

    WEIGHTED = "weighted"
    """The best low-rank part of what was lost, by what it costs."""
    PLAIN = "plain"
    """The best low-rank part by the error of the weights alone."""
    ZERO = "zero"
    """Nothing, as a fresh LoRA."""


def attach_recovery(
    base: Transformer,
    dense: Blocks,
    batches: Sequence[Batch],
    rank: int,
    key: PRNGKeyArray,
    start: RecoveryStart = RecoveryStart.WEIGHTED,
    progress: Callable[[int], None] = lambda num_done: None,
) -> Transformer:
    """Put on every linear layer of `base` the adapter that stands best for dense - base.

    Errors: `UserError` when the rank is larger than a layer's smaller dimension.
    """
    for node in _adaptables(base):
        check_rank(rank, *node.weight.shape[-2:])
    factors = recovery_factors(merge(base), dense, batches, rank, key, start, progress)

    def wrap(path: Any, node: object) -> object:
        if not isinstance(node, Adaptable):
            return node
        found = factors[jax.tree_util.keystr(path, simple=True, separator=".")]
        down, up = (jnp.stack([jnp.asarray(part) for part in parts]) for parts in zip(*found, strict=True))
        return LoraLinear(node, down, up)

    blocks = jax.tree_util.tree_map_with_path(wrap, base.blocks, is_leaf=lambda node: isinstance(node, Adaptable))
    return Transformer(base.embedding, blocks, base.final_norm, base.config)


def recovery_factors(
    base: Blocks,
    dense: Blocks,
    batches: Sequence[Batch],
    rank: int,
    key: PRNGKeyArray,
    start: RecoveryStart = RecoveryStart.WEIGHTED,
    progress: Callable[[int], None] = lambda num_done: None,
) -> dict[str, list[Factors]]:
    """The factors of every layer, by the linear layer's path in its block.

    `progress` hears how many of the NUM_PASSES * num_layers block passes are done.
    """
    config = dense.config
    before = [[embed(dense.embedding, batch) for batch in batches]]
    for layer in range(config.num_layers):
        block = dense.block(layer)
        before.append([advance(block, hidden, config.head_dim, config.rope_theta) for hidden in before[-1]])
        progress(layer + 1)
    importance: list[dict[str, np.ndarray]] = [{} for _ in range(config.num_layers)]
    for layer, found in importance_by_layer(dense, before, key):
        importance[layer] = found
        progress(2 * config.num_layers - layer)
    factors: dict[str, list[Factors]] = {}
    for layer in range(config.num_layers):
        block = dense.block(layer)
        moments = block_moments(block, before[layer], config.head_dim, config.rope_theta)
        small = dict(linears(base.block(layer)))
        for path, linear in linears(block):
            lost = np.asarray(linear.weight) - np.asarray(small[path].weight)
            weights = (moments[path], importance[layer][path]) if start is RecoveryStart.WEIGHTED else (None, None)
            factors.setdefault(path, []).append(nearest_low_rank(lost, rank, *weights))
        progress(2 * config.num_layers + layer + 1)
    return factors


def _adaptables(model: Transformer) -> list[Adaptable]:
    nodes = jax.tree.leaves(model.blocks, is_leaf=lambda node: isinstance(node, Adaptable))
    return [node for node in nodes if isinstance(node, Adaptable)]
