"""A linear layer whose weights are looked up in tables, so that the tables can be trained and the indices stay.

Takes the place of `Linear` in the tree. What is trained are shifts beside the tables and row scales, in parts of their
own size, so that one rate suits all of them; at zero the layer is what the file says.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from codling.model.linear import Linear


class PalettizedLinear(eqx.Module):
    """y = x W^T with W[r, c] = tables[r // rows_per_table, indices[r, c]] * row_scales[r], both shifted."""

    indices: UInt8[Array, "*L O I"]
    tables: Float[Array, "*L G P"]
    """G = ceil(O / rows_per_table). Layers of fewer entries than others are filled up with zeros, never looked up."""
    row_scales: Float[Array, "*L O"]
    table_shifts: Float[Array, "*L G P"]
    """In parts of the table's root mean square."""
    row_shifts: Float[Array, "*L O"]
    """In parts of the row's scale."""
    rows_per_table: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Apply the layer."""
        return Linear(self.weight)(x)

    @property
    def weight(self) -> Float[Array, "*L O I"]:
        """The matrix that the layer stands for."""
        num_rows = self.indices.shape[-2]
        entries = jnp.repeat(self.shifted_tables, self.rows_per_table, axis=-2)[..., :num_rows, :]
        return look_up(entries * self.shifted_row_scales[..., None], self.indices)

    @property
    def shifted_tables(self) -> Float[Array, "*L G P"]:
        """The tables, as trained."""
        size = jnp.sqrt(jnp.mean(jnp.square(self.tables), axis=-1, keepdims=True))
        return self.tables + size * self.table_shifts

    @property
    def shifted_row_scales(self) -> Float[Array, "*L O"]:
        """The row scales, as trained."""
        return self.row_scales * (1.0 + self.row_shifts)


@jax.custom_vjp
def look_up(entries: Float[Array, "*L O P"], indices: UInt8[Array, "*L O I"]) -> Float[Array, "*L O I"]:
    """The entry of its row that each index names, with its own backward pass.

    An entry's gradient is the sum over the weights that chose it. A compiler would add them up one weight after the
    other; here each entry is one pass over the matrix. Tried and dropped: the passes as one straight program, which
    compiled for minutes.
    """
    return jnp.take_along_axis(entries, indices.astype(jnp.int32), axis=-1)


def _forward(entries: Array, indices: Array) -> tuple[Array, tuple[Array, Array]]:
    return look_up(entries, indices), (entries, indices)


def _backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, None]:
    entries, indices = saved

    def of_entry(entry: Array) -> Array:
        return jnp.sum(jnp.where(indices == entry, gradient, 0.0), axis=-1)

    sums = jax.lax.map(of_entry, jnp.arange(entries.shape[-1], dtype=indices.dtype))
    return jnp.moveaxis(sums, 0, -1), None


look_up.defvjp(_forward, _backward)
