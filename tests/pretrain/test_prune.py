"""The stage learns a hard mask or chooses without one, resumes to the same bytes, and refuses what makes no sense."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.model_files import load_config, load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.config import from_dict
from codling.data.pack import Row
from codling.errors import UserError
from codling.model.execution import PLAIN
from codling.model.transformer import Transformer
from codling.pretrain.anneal import AnnealedBatch
from codling.pretrain.prune import MaskConfig, PruneConfig, masked_loss, run_prune
from codling.pretrain.unit_mask import ScoredModel
from codling.pretrain.unit_scores import Method
from codling.recipes.tiny import NUM_STEPS, tiny
from codling.train.loop import train
from codling.train.metrics import read_metrics
from codling.train.objective import next_token
from tests.conftest import TinyBuild

CONFIG = tiny().device_prune
KEY = jax.random.key(0)


def run(build: TinyBuild, config: PruneConfig, out: Path) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    inputs = build.inputs(tokens="tokens", parent="device_parent_core")
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        return run_prune(config, inputs, Workspace("prune", out, SilentReporter()), KEY)


def test_the_artifact_is_smaller_and_measured_against_chance(tiny_build: TinyBuild) -> None:
    artifact = tiny_build.artifacts["device_prune"]
    metrics = artifact.manifest.metrics
    assert load_config(artifact.path).ffn_dim == CONFIG.ffn_dim
    assert metrics["method"] == "soft_topk"
    assert metrics["num_tokens"] == NUM_STEPS * 2 * 256
    assert {f"heldout_{which}" for which in ("before", "after", "chosen_units", "random_units")} <= set(metrics)
    assert metrics["num_parameters_after"] < metrics["num_parameters_before"]
    assert [record["step"] for record in read_metrics(artifact.path)] == list(range(1, NUM_STEPS + 1))


def test_the_mask_ends_hard(tiny_build: TinyBuild) -> None:
    assert tiny_build.artifacts["device_prune"].manifest.metrics["largest_mask_cut"] < 1e-3


def test_the_temperature_of_the_batch_is_the_masks_and_no_other_program(parent: Transformer, batch: Row) -> None:
    scored = ScoredModel(jax.random.normal(KEY, (2, 12)), parent, 5, 1.0)
    num_compilations = 0

    @jax.jit
    def loss(annealed: AnnealedBatch) -> jax.Array:
        nonlocal num_compilations
        num_compilations += 1
        return masked_loss(scored, jax.tree.map(lambda _: None, scored), annealed, KEY, PLAIN).value

    for temperature in (1.0, 0.01):
        annealed = AnnealedBatch(batch, np.full(len(batch.tokens), temperature, np.float32))
        expected = next_token(scored.masked(jnp.float32(temperature)), batch)
        np.testing.assert_allclose(loss(annealed), expected.value, rtol=1e-5)
    assert num_compilations == 1


@pytest.mark.parametrize("method", [method for method in Method if method is not Method.SOFT_TOPK])
def test_other_methods_cut_the_parent_without_training(tiny_build: TinyBuild, tmp_path: Path, method: Method) -> None:
    metrics = run(tiny_build, replace(CONFIG, method=method), tmp_path)
    assert metrics["heldout_after"] == metrics["heldout_chosen_units"]
    assert (metrics["heldout_after"] == metrics["heldout_random_units"]) == (method is Method.RANDOM)
    assert "num_tokens" not in metrics
    assert not (tmp_path / "metrics.jsonl").exists()


def test_weights_that_are_not_trained_along_stay_the_parents(tiny_build: TinyBuild, tmp_path: Path) -> None:
    run(tiny_build, replace(CONFIG, mask=MaskConfig(trains_weights=False)), tmp_path)
    parent = load_model(tiny_build.artifacts["device_parent_core"].path)
    pruned = load_model(tmp_path)
    np.testing.assert_array_equal(parent.embedding, pruned.embedding)
    rows_of_parent = {row.tobytes() for row in np.asarray(parent.blocks.feed_forward.gate.weight[1])}
    assert all(row.tobytes() in rows_of_parent for row in np.asarray(pruned.blocks.feed_forward.gate.weight[1]))


def test_killed_and_resumed_it_ends_in_the_same_bytes(
    tiny_build: TinyBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny_build, CONFIG, tmp_path / "undisturbed")

    def killed(*arguments: Any) -> Iterator[Any]:
        for record in train(*arguments):
            if record.step == 3:
                raise KeyboardInterrupt
            yield record

    with monkeypatch.context() as patched:
        patched.setattr("codling.pretrain.prune.train", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_build, CONFIG, tmp_path / "killed")
    run(tiny_build, CONFIG, tmp_path / "killed")
    undisturbed, resumed = (tmp_path / name / "model.safetensors" for name in ("undisturbed", "killed"))
    assert undisturbed.read_bytes() == resumed.read_bytes()


@pytest.mark.parametrize("ffn_dim", [0, 48, 100])
def test_a_width_that_is_not_below_the_parents_is_refused(tiny_build: TinyBuild, tmp_path: Path, ffn_dim: int) -> None:
    with pytest.raises(UserError, match=f"ffn_dim is {ffn_dim}; it must be below the parent's 48"):
        run(tiny_build, replace(CONFIG, ffn_dim=ffn_dim), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": "soft_topk"}, "the mask's scores cannot start from themselves; name another method"),
        ({"score_rate": 0.0}, "score_rate must be positive, got 0.0"),
        ({"start": "lot"}, "key 'start': input should be 'soft_topk', 'contribution', 'mean_activation'"),
    ],
)
def test_bad_settings_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict(MaskConfig, values, source="recipe")
