import dataclasses

import equinox as eqx
import jax
import pytest

from codling.model.config import named_size
from codling.model.init import init_transformer
from codling.model.transformer import Transformer
from codling.train.mup import update_scales


def abstract_model(model_dim: int) -> Transformer:
    config = dataclasses.replace(named_size("quickstart_device"), model_dim=model_dim)
    model: Transformer = eqx.filter_eval_shape(init_transformer, config, jax.random.key(0))
    return model


@pytest.mark.parametrize(("model_dim", "expected"), [(3072, 0.25), (768, 1.0), (96, 1.0), (1024, 0.75)])
def test_linear_layers_scale_by_width_and_nothing_else_does(model_dim: int, expected: float) -> None:
    """The published shape, 3072 wide, has AXLearn's factor of 0.25."""
    scales = update_scales(abstract_model(model_dim), 768)
    assert {scales.embedding, scales.final_norm.scale, scales.blocks.attention_norm.scale} == {1.0}
    assert scales.blocks.attention.query_norm is not None
    assert scales.blocks.attention.query_norm.scale == 1.0
    attention, feed_forward = scales.blocks.attention, scales.blocks.feed_forward
    layers = (attention.query, attention.key, attention.value, attention.output)
    for layer in (*layers, feed_forward.gate, feed_forward.up, feed_forward.down):
        assert layer.weight == expected


def test_without_a_base_all_scales_are_one() -> None:
    assert set(jax.tree.leaves(update_scales(abstract_model(3072), None))) == {1.0}


def test_what_is_no_model_is_left_alone() -> None:
    assert update_scales({"head": 0.0, "model": abstract_model(3072)}, 768)["head"] == 1.0
    assert update_scales({"model": abstract_model(3072)}, 768)["model"].blocks.feed_forward.up.weight == 0.25
