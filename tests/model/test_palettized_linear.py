"""Weights looked up in tables: what they stand for, and gradients of tables alone."""

import jax
import jax.numpy as jnp
import numpy as np

from codling.model.palettized_linear import PalettizedLinear

LAYERS, OUT, IN, ENTRIES, ROWS = 2, 20, 6, 4, 16


def draw() -> PalettizedLinear:
    random = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(random.normal(size=shape), jnp.float32)

    return PalettizedLinear(
        jnp.asarray(random.integers(0, ENTRIES, (LAYERS, OUT, IN)), jnp.uint8),
        normal(LAYERS, 2, ENTRIES),
        normal(LAYERS, OUT),
        0.1 * normal(LAYERS, 2, ENTRIES),
        0.1 * normal(LAYERS, OUT),
        ROWS,
    )


def reference(layer: PalettizedLinear) -> np.ndarray:
    weight = np.zeros((LAYERS, OUT, IN))
    for place in np.ndindex(weight.shape):
        number, row, _ = place
        table, shifts = (np.asarray(part[number, row // ROWS]) for part in (layer.tables, layer.table_shifts))
        entry = int(layer.indices[place])
        value = table[entry] + np.sqrt((table**2).mean()) * shifts[entry]
        weight[place] = value * float(layer.row_scales[number, row]) * (1 + float(layer.row_shifts[number, row]))
    return weight


def test_the_weight_is_what_the_indices_say() -> None:
    layer = draw()
    np.testing.assert_allclose(layer.weight, reference(layer), rtol=1e-5)
    one = jax.tree.map(lambda leaf: leaf[1], layer)
    x = np.random.default_rng(1).normal(size=(3, IN)).astype(np.float32)
    np.testing.assert_allclose(one(jnp.asarray(x)), x @ reference(layer)[1].T, rtol=1e-4, atol=1e-5)


def test_gradients_of_shifts_are_sums_over_the_weights_that_chose_an_entry() -> None:
    layer = draw()
    upstream = jnp.asarray(np.random.default_rng(2).normal(size=(LAYERS, OUT, IN)), jnp.float32)

    def value(table_shifts: jax.Array) -> jax.Array:
        shifted = PalettizedLinear(layer.indices, layer.tables, layer.row_scales, table_shifts, layer.row_shifts, ROWS)
        return jnp.sum(shifted.weight * upstream)

    found = np.asarray(jax.grad(value)(layer.table_shifts))
    expected = np.zeros(found.shape)
    for number, row, column in np.ndindex(LAYERS, OUT, IN):
        group = row // ROWS
        scale = float(layer.row_scales[number, row]) * (1 + float(layer.row_shifts[number, row]))
        size = np.sqrt((np.asarray(layer.tables[number, group]) ** 2).mean())
        expected[number, group, int(layer.indices[number, row, column])] += (
            float(upstream[number, row, column]) * scale * size
        )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
