from pathlib import Path

import numpy as np
import pytest

from codling.artifact.bundle import load_bundle
from codling.artifact.hf import EMBEDDING_NAME
from codling.artifact.model_files import load_compressed, stored_bits
from codling.bench.engine_models import (
    RandomBundleConfig,
    RandomCompressed,
    RandomWeights,
    mixed_widths,
    random_bundle,
    random_tokenizer,
)
from codling.compress.palettize import PalettizedMatrix
from codling.engine.engine import Engine
from tests.bench.engine_tiny import SHAPE

DRAWN = RandomBundleConfig(shape=SHAPE, bits_per_weight=3.9, num_adapters=2, rank=3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_bundle(tmp_path_factory.mktemp("models"), DRAWN, lambda line: None)


def test_the_bundle_runs_on_both_engines_with_each_adapter(bundle: Path) -> None:
    engine = Engine.open(bundle, verify=True)
    for name in ("none", "random0", "random1"):
        assert load_bundle(bundle, name).adapter == name
        assert engine.session(adapter=name)
    with pytest.raises(Exception, match="no adapter 'random2'"):
        engine.session(adapter="random2")


def test_it_has_the_bits_asked_for_and_both_widths(bundle: Path) -> None:
    widths = [matrix.bits for matrix in load_compressed(bundle).values() if isinstance(matrix, PalettizedMatrix)]
    assert {2, 4} == set(widths)
    assert 3.4 < stored_bits(bundle).bits_per_weight_projections <= DRAWN.bits_per_weight


def test_what_is_there_is_not_made_again(bundle: Path) -> None:
    assert random_bundle(bundle.parent, DRAWN, pytest.fail) == bundle


def test_weights_are_drawn_the_same_each_time_and_have_the_size_of_real_ones() -> None:
    weights, compressed = RandomWeights(SHAPE), RandomCompressed(DRAWN)
    assert set(compressed) == {name for name in weights if weights[name].ndim == 2}
    for name, matrix in compressed.items():
        np.testing.assert_array_equal(weights[name], weights[name])
        np.testing.assert_array_equal(matrix.dequantize(), compressed[name].dequantize())
        for drawn in (weights[name], matrix.dequantize()):
            assert drawn.shape == weights[name].shape
            assert np.std(drawn) * drawn.shape[1] ** 0.5 == pytest.approx(1.0, rel=0.3)
    assert not np.array_equal(weights[EMBEDDING_NAME][:8], weights["model.layers.0.self_attn.q_proj.weight"][:8])


@pytest.mark.parametrize("target", [2.5, 3.0, 3.7, 4.5])
def test_widths_keep_the_average(target: float) -> None:
    widths = mixed_widths({str(number): (256, 1024) for number in range(40)}, target)
    overhead = 8 * (16 * (16 + 4) + 512) / (256 * 1024)
    assert np.mean([*widths.values()]) + overhead == pytest.approx(min(target, 4.0), abs=0.15)


def test_a_tokenizer_has_as_many_pieces_as_asked_for() -> None:
    assert random_tokenizer(400).vocab_size == 400
    assert random_tokenizer(400) == random_tokenizer(400)
