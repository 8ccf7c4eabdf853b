"""A whole model: bits are met, what costs most keeps most, and the model stays nearer to itself."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.hf import model_tensors
from codling.compress.error_feedback import feedback_of
from codling.compress.palettize import palettize
from codling.compress.palettize_calibrated import palettize_calibrated
from codling.data.loader import Batch
from codling.errors import UserError
from codling.model.block import Block
from codling.model.transformer import Transformer
from codling.ondevice import compress_blocks as module
from codling.ondevice.compress_blocks import CompressConfig, Compressed, compress_blocks, tensor_name
from codling.ondevice.compress_choices import SensitivityMethod
from codling.ondevice.input_moments import advance, block_moments, embed


def batches(num_rows: int = 32) -> list[Batch]:
    random = np.random.default_rng(3)
    tokens, targets = random.integers(0, 61, size=(2, num_rows, 64)).astype(np.int32)
    positions = np.tile(np.arange(64, dtype=np.int32), (num_rows, 1))
    ones = np.ones((num_rows, 64), np.int32)
    return [Batch(tokens, targets, ones.astype(np.float32), ones, positions)]


def log_probs(model: Transformer, batch: Batch) -> np.ndarray:
    parts = (jnp.asarray(part) for part in (batch.tokens, batch.positions, batch.segment_ids))
    hidden = model(*parts, rope_theta=model.config.rope_theta)
    return np.asarray(jax.nn.log_softmax(model.logits(hidden)), np.float64)


def divergence(model: Transformer, matrices: dict[str, np.ndarray], batch: Batch) -> float:
    blocks = model.blocks
    for path in ("attention.query", "attention.key", "attention.value", "attention.output"):
        blocks = replaced(blocks, path, matrices)
    for path in ("feed_forward.gate", "feed_forward.up", "feed_forward.down"):
        blocks = replaced(blocks, path, matrices)
    other = Transformer(model.embedding, blocks, model.final_norm, model.config)
    before, after = log_probs(model, batch), log_probs(other, batch)
    return float((np.exp(before) * (before - after)).sum(axis=-1).mean())


def replaced(blocks: Block, path: str, matrices: dict[str, np.ndarray]) -> Block:
    part, name = path.split(".")
    stacked = jnp.stack([jnp.asarray(matrices[tensor_name(layer, path)]) for layer in range(2)])
    changed: Block = eqx.tree_at(lambda blocks: getattr(getattr(blocks, part), name).weight, blocks, stacked)
    return changed


@pytest.fixture(scope="module")
def compressed(tiny_model: Transformer) -> Compressed:
    return compress_blocks(tiny_model, batches(), CompressConfig(target_bits_per_weight=3.7), jax.random.key(0))


def test_the_average_is_met_with_tables_and_padding(compressed: Compressed) -> None:
    sizes = {name: matrix.shape[0] * matrix.shape[1] for name, matrix in compressed.matrices.items()}
    bits = sum(matrix.bits_per_weight().total * sizes[name] for name, matrix in compressed.matrices.items())
    assert len(compressed.matrices) == 14
    assert {matrix.bits for matrix in compressed.matrices.values()} == {2, 4}
    assert bits / sum(sizes.values()) <= 3.7


def test_more_bits_cost_less_and_are_priced_in_nats(compressed: Compressed) -> None:
    for tried in compressed.sensitivities.values():
        assert tried[2].nats_per_token > tried[4].nats_per_token > 0
        assert tried[2].stored_bits < tried[4].stored_bits


def moments_of(model: Transformer, layer: int, path: str) -> np.ndarray:
    shape = model.config.head_dim, model.config.rope_theta
    rows = [embed(model.embedding, batch) for batch in batches()]
    for earlier in range(layer):
        rows = [advance(model.block(earlier), hidden, *shape) for hidden in rows]
    return block_moments(model.block(layer), rows, *shape)[path]


@pytest.mark.parametrize(("path", "factor"), [("attention.value", 5), ("feed_forward.down", 3)])
@pytest.mark.parametrize("width", [2, 4])
def test_the_price_of_a_matrix_is_what_the_model_pays(
    tiny_model: Transformer, compressed: Compressed, path: str, factor: int, width: int
) -> None:
    # To second order, and with errors of outputs and tokens taken for independent, though attention averages values.
    (batch,) = batches()
    dense, name = model_tensors(tiny_model), tensor_name(1, path)
    feedback = feedback_of(moments_of(tiny_model, 1, path))
    small = palettize_calibrated(dense[name], feedback, width, num_sweeps=1, num_descents=0)
    predicted = compressed.sensitivities[name][width].nats_per_token
    found = divergence(tiny_model, dense | {name: small.dequantize()}, batch)
    assert predicted / factor < found < factor * predicted


def test_the_model_stays_nearer_to_itself_than_with_nearest_entries(tiny_model: Transformer) -> None:
    (batch,) = batches()
    config = CompressConfig(target_bits_per_weight=8.0, widths_bits=(4,))
    found = compress_blocks(tiny_model, [batch], config, jax.random.key(0))
    plain = {
        name: palettize(tensor, 4).dequantize()
        for name, tensor in model_tensors(tiny_model).items()
        if tensor.ndim == 2
    }
    ours = {name: matrix.dequantize() for name, matrix in found.matrices.items()}
    assert divergence(tiny_model, ours, batch) < 0.8 * divergence(tiny_model, plain, batch)


@pytest.mark.parametrize("sensitivity", SensitivityMethod)
def test_all_passes_are_heard_of(tiny_model: Transformer, sensitivity: SensitivityMethod) -> None:
    heard: list[int] = []
    config = CompressConfig(target_bits_per_weight=9.0, sensitivity=sensitivity)
    compress_blocks(tiny_model, batches(), config, jax.random.key(0), heard.append)
    assert heard == list(range(1, config.num_passes * 2 + 1))


@pytest.fixture(scope="module")
def measured(tiny_model: Transformer) -> tuple[Transformer, Compressed]:
    """Of a model to whose output one matrix adds next to nothing."""
    down = tiny_model.blocks.feed_forward.down.weight.at[1].multiply(1e-4)
    model = eqx.tree_at(lambda model: model.blocks.feed_forward.down.weight, tiny_model, down)
    config = CompressConfig(target_bits_per_weight=4.5, sensitivity=SensitivityMethod.MEASURED)
    return model, compress_blocks(model, batches(), config, jax.random.key(0))


def test_a_matrix_that_adds_nothing_costs_nothing(measured: tuple[Transformer, Compressed]) -> None:
    costs = {name: found[2].nats_per_token for name, found in measured[1].sensitivities.items()}
    unheard = [costs.pop(tensor_name(1, f"feed_forward.{name}")) for name in ("gate", "up", "down")]
    assert 0 <= min(unheard) <= max(unheard) < 1e-3 * float(np.median(list(costs.values())))


@pytest.mark.parametrize(("layer", "path", "width"), [(0, "attention.value", 2), (1, "attention.output", 4)])
def test_a_measured_price_is_what_the_whole_model_pays(
    measured: tuple[Transformer, Compressed], layer: int, path: str, width: int
) -> None:
    model, compressed = measured
    (batch,) = batches()
    name, dense = tensor_name(layer, path), model_tensors(model)
    # As all of the model's, but for the importance of outputs, which only shifts errors between rows.
    small = palettize_calibrated(dense[name], feedback_of(moments_of(model, layer, path)), width, num_sweeps=4)
    expected = divergence(model, dense | {name: small.dequantize()}, batch)
    assert compressed.sensitivities[name][width].nats_per_token == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize(("width", "wide"), [(4, (2, 1)), (2, (4, 3))])
def test_wide_matrices_of_fine_tables_are_fitted_in_half_the_time(
    tiny_model: Transformer, monkeypatch: pytest.MonkeyPatch, width: int, wide: tuple[int, int]
) -> None:
    seen: dict[int, set[tuple[int, int]]] = {}

    def note(weight: np.ndarray, *arguments: Any, num_sweeps: int, num_descents: int, **options: Any) -> object:
        if "row_importance" in options:  # the last pass, not what is tried
            seen.setdefault(weight.shape[1], set()).add((num_sweeps, num_descents))
        return palettize_calibrated(weight, *arguments, num_sweeps=1, num_descents=0, **options)

    monkeypatch.setattr(module, "palettize_calibrated", note)
    monkeypatch.setattr(module, "WIDE_INPUT", 24)
    config = CompressConfig(target_bits_per_weight=9.0, widths_bits=(width,))
    compress_blocks(tiny_model, batches(), config, jax.random.key(0))
    assert seen == {16: {(4, 3)}, 24: {wide}, 32: {wide}}


def test_weights_that_are_no_numbers_are_named_with_their_count(tiny_model: Transformer) -> None:
    weight = tiny_model.blocks.feed_forward.up.weight.at[1, 3, :2].set(jnp.nan)
    broken = eqx.tree_at(lambda model: model.blocks.feed_forward.up.weight, tiny_model, weight)
    with pytest.raises(UserError, match=r"model\.layers\.1\.mlp\.up_proj\.weight: 2 of 384 values are NaN"):
        compress_blocks(broken, batches(), CompressConfig(), jax.random.key(0))


def test_a_short_text_and_an_average_that_cannot_be_met_are_refused(tiny_model: Transformer) -> None:
    with pytest.raises(UserError, match=r"the calibration text has 64 tokens, at least 1024 are needed"):
        compress_blocks(tiny_model, batches(1), CompressConfig(), jax.random.key(0))
    with pytest.raises(UserError, match=r"1 bits a weight cannot be met: .* takes from"):
        compress_blocks(tiny_model, batches(), CompressConfig(target_bits_per_weight=1.0), jax.random.key(0))


@pytest.mark.parametrize(
    "values",
    [
        {"widths_bits": (3,)},
        {"widths_bits": ()},
        {"target_bits_per_weight": 0.0},
        {"num_sweeps": 0},
        {"num_descents": -1},
    ],
)
def test_settings_without_meaning_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be above 0|must be at least 1|are of"):
        CompressConfig(**values)
