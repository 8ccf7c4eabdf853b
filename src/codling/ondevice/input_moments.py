"""What each linear layer is fed: the second moments E[x x^T] of its input over a calibration text.

They say which errors of a weight matrix reach its output (`error_feedback`). A block is run with every linear layer
replaced by one that hands its input out, in one compiled program for all layers of a model; so a model is calibrated
block by block, and needs no more memory than a block, its moments and the hidden states of the text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from codling.data.loader import Batch
from codling.model.block import Block
from codling.model.linear import Linear
from codling.model.packed_rows import PackedRows
from codling.model.rope import rotary

SAME_INPUT = {
    "attention.key": "attention.query",
    "attention.value": "attention.query",
    "feed_forward.up": "feed_forward.gate",
}
"""Linear layers that are fed what another one is."""


class Hidden(NamedTuple):
    """Rows of a text between two blocks."""

    x: Float[Array, "B T D"]
    positions: Int[Array, "B T"]
    segment_ids: Int[Array, "B T"]
    """0: padding, which counts for nothing."""


class TappedLinear(eqx.Module):
    """A linear layer that shows its input."""

    base: Linear
    name: str = eqx.field(static=True)
    show: Callable[[str, Array], None] = eqx.field(static=True)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Apply the layer."""
        self.show(self.name, x)
        return self.base(x)


def embed(embedding: Float[Array, "V D"], batch: Batch) -> Hidden:
    """The rows before the first block."""
    tokens, positions, segment_ids = map(jnp.asarray, (batch.tokens, batch.positions, batch.segment_ids))
    return Hidden(embedding[tokens], positions, segment_ids)


def run_block(block: Block, hidden: Hidden, head_dim: int, rope_theta: float) -> Hidden:
    """The rows after a block."""
    angles = rotary(hidden.positions, head_dim, rope_theta)
    return hidden._replace(x=block(hidden.x, angles, PackedRows(hidden.segment_ids))[0])


advance = eqx.filter_jit(run_block)
"""The same, compiled."""


def block_moments(
    block: Block, rows: Sequence[Hidden], head_dim: int, rope_theta: float
) -> dict[str, Float[np.ndarray, "I I"]]:
    """Second moments of the input of every linear layer of a block, by its path in it ("attention.query").

    Shapes: layers that have one input have one array, the same.
    Units:  means over the tokens of all rows.
    """
    return _means(block, rows, (_sums(block, hidden, head_dim, rope_theta) for hidden in rows))


def moments_and_after(
    block: Block, rows: Sequence[Hidden], head_dim: int, rope_theta: float
) -> tuple[dict[str, Float[np.ndarray, "I I"]], list[Hidden]]:
    """The same, and the rows after the block, from one run of it."""
    after: list[Hidden] = []

    def sums() -> Iterator[dict[str, Array]]:
        for hidden in rows:
            found, last = _sums_and_after(block, hidden, head_dim, rope_theta)
            after.append(last)
            yield found

    return _means(block, rows, sums()), after


def _means(block: Block, rows: Sequence[Hidden], sums: Iterable[dict[str, Array]]) -> dict[str, np.ndarray]:
    totals: dict[str, np.ndarray] = {}
    for of_rows in sums:
        for name, found in of_rows.items():
            # The sum over a long text is kept in double precision, and in place: it may take half a gigabyte.
            if name in totals:
                np.add(totals[name], found, out=totals[name])
            else:
                totals[name] = np.array(found, np.float64)
    num_tokens = sum(int((np.asarray(hidden.segment_ids) > 0).sum()) for hidden in rows)
    for total in totals.values():
        np.divide(total, num_tokens, out=total)
    return {name: totals[SAME_INPUT.get(name, name)] for name, _ in linears(block)}


def _run_tapped(block: Block, hidden: Hidden, head_dim: int, rope_theta: float) -> tuple[dict[str, Array], Hidden]:
    """Sums of the moments over the tokens of the rows, and the rows after the block."""
    found: dict[str, Array] = {}
    is_token = (hidden.segment_ids > 0)[..., None]

    def show(name: str, x: Array) -> None:
        if name in SAME_INPUT:
            return
        x = jnp.where(is_token, x, 0.0)
        found[name] = jnp.einsum("bti,btj->ij", x, x)

    tapped, _ = with_linears(block, lambda name, node: TappedLinear(node, name, show))
    after = run_block(tapped, hidden, head_dim, rope_theta)
    return found, after


_sums_and_after = eqx.filter_jit(_run_tapped)
# Without what only the rows after the block need.
_sums = eqx.filter_jit(lambda *args: _run_tapped(*args)[0])


def with_linears(block: Block, replace: Callable[[str, Linear], object]) -> tuple[Block, list[tuple[str, Linear]]]:
    """The block with each linear layer replaced, and the layers as they were, by their paths."""
    found: list[tuple[str, Linear]] = []

    def wrap(path: Any, node: object) -> object:
        if not isinstance(node, Linear):
            return node
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        found.append((name, node))
        return replace(name, node)

    replaced: Block = jax.tree_util.tree_map_with_path(wrap, block, is_leaf=lambda node: isinstance(node, Linear))
    return replaced, found


def linears(block: Block) -> list[tuple[str, Linear]]:
    """The linear layers of a block, by their paths."""
    return with_linears(block, lambda _, node: node)[1]


def with_weights(block: Block, weights: Mapping[str, Float[np.ndarray, "O I"]]) -> Block:
    """The block with other weights in the linear layers of these paths."""

    def replace(path: str, linear: Linear) -> Linear:
        return Linear(jnp.asarray(weights[path])) if path in weights else linear

    return with_linears(block, replace)[0]
