"""Where recovery starts: nearer to the uncompressed model than plain decompositions start."""

from typing import Any

import jax
import numpy as np
import pytest

from codling.adapters.lora import LoraLinear, merge
from codling.adapters.low_rank import nearest_low_rank
from codling.artifact.hf import EMBEDDING_NAME, model_from_tensors, model_tensors
from codling.compress.palettize import palettize
from codling.data.loader import Batch
from codling.errors import UserError
from codling.evaluate.divergence import measure_divergence
from codling.model.transformer import Transformer
from codling.ondevice.recovery_start import NUM_PASSES, RecoveryStart, attach_recovery

RANK = 3


@pytest.fixture(scope="module")
def batch() -> Batch:
    random = np.random.default_rng(3)
    # Few tokens, often: inputs that are correlated.
    tokens, targets = random.choice(7, size=(2, 16, 64)).astype(np.int32)
    positions = np.tile(np.arange(64, dtype=np.int32), (16, 1))
    ones = np.ones((16, 64), np.int32)
    return Batch(tokens, targets, ones.astype(np.float32), ones, positions)


@pytest.fixture(scope="module")
def base(tiny_model: Transformer) -> Transformer:
    tensors = model_tensors(tiny_model)
    small = {
        name: palettize(tensor, 2).dequantize() if tensor.ndim == 2 and name != EMBEDDING_NAME else tensor
        for name, tensor in tensors.items()
    }
    return model_from_tensors(tiny_model.config, small, source="test")


def test_it_starts_nearer_than_plain_decompositions(tiny_model: Transformer, base: Transformer, batch: Batch) -> None:
    heard: list[int] = []
    weighted = attach_recovery(base, tiny_model, [batch], RANK, jax.random.key(0), progress=heard.append)
    assert heard == list(range(1, NUM_PASSES * 2 + 1))
    plain = attach_recovery(base, tiny_model, [batch], RANK, jax.random.key(0), RecoveryStart.PLAIN)
    lost = (tiny_model.blocks.feed_forward.up.weight - base.blocks.feed_forward.up.weight)[0]
    layer: Any = plain.blocks.feed_forward.up
    down, up = nearest_low_rank(np.asarray(lost), RANK)
    np.testing.assert_allclose(layer.up[0] @ layer.down[0], up @ down, atol=1e-5)
    models = base, merge(plain), merge(weighted)
    bare, unweighted, ours = (measure_divergence(model, tiny_model, [batch]).mean_nats for model in models)
    assert ours < 0.8 * unweighted < unweighted < bare


def test_a_whole_rank_restores_the_model(tiny_model: Transformer, base: Transformer, batch: Batch) -> None:
    # Keys and values have eight-wide heads, two of them: no rank above 16 fits.
    restored = attach_recovery(base, tiny_model, [batch], 16, jax.random.key(0))
    assert measure_divergence(merge(restored), tiny_model, [batch]).mean_nats < 1e-6
    nodes = jax.tree.leaves(restored.blocks, is_leaf=lambda node: isinstance(node, LoraLinear))
    assert all(isinstance(node, LoraLinear) for node in nodes if hasattr(node, "base"))


def test_a_rank_that_fits_no_layer_is_refused(tiny_model: Transformer, base: Transformer, batch: Batch) -> None:
    with pytest.raises(UserError, match="adapter rank 17 does not fit a layer of"):
        attach_recovery(base, tiny_model, [batch], 17, jax.random.key(0))
