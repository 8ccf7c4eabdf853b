from codling.model.transformer import Transformer
from codling.train.parameter_blocks import block_axes, is_norm_scale


def test_stacked_layers_are_apart_and_the_rest_is_whole(tiny_model: Transformer) -> None:
    axes = block_axes(tiny_model)
    assert axes.embedding == (0, 1)
    assert axes.final_norm.scale == (0,)
    assert axes.blocks.feed_forward.up.weight == (1, 2)
    assert axes.blocks.attention_norm.scale == (1,)
    assert block_axes({"matrix": tiny_model.embedding})["matrix"] == (0, 1)


def test_only_scales_of_norms_are_norm_scales(tiny_model: Transformer) -> None:
    marks = is_norm_scale(tiny_model)
    assert marks.final_norm.scale
    assert marks.blocks.attention.query_norm.scale
    assert not marks.embedding
    assert not marks.blocks.attention.query.weight
