"""One process-wide set-up: two virtual devices, a compilation cache kept between runs, strict promotion rules."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import PRNGKeyArray

from codling.artifact.adapter_files import save_adapter
from codling.artifact.bundle import write_bundle_files
from codling.artifact.hf import EMBEDDING_NAME, model_tensors
from codling.artifact.import_checkpoint import import_checkpoint
from codling.artifact.model_files import load_model, save_compressed_model, save_model
from codling.artifact.stage import Artifact, Inputs, Stage, run_stage
from codling.artifact.workspace import SilentReporter, Workspace
from codling.compress.embedding_quant import quantize_embedding
from codling.compress.palettize import palettize
from codling.compress.tensors import Compressed
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer
from codling.ondevice.package import BundleConfig
from codling.recipes.build import build
from codling.recipes.tiny import tiny
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.train import TokenizerConfig, train_tokenizer
from tests.adapted import with_residual
from tests.foreign_checkpoint import write_checkpoint

SETTINGS = {
    "jax_platforms": "cpu",
    "jax_num_cpu_devices": 2,
    "jax_compilation_cache_dir": str(Path(__file__).parents[1] / ".cache" / "jax"),
    "jax_persistent_cache_min_compile_time_secs": 0.2,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
}
for name, value in SETTINGS.items():
    jax.config.update(name, value)  # type: ignore[no-untyped-call]


MAX_MEMORY_MAPS = 30_000
"""Every compiled program takes some, Linux gives a process 65,530 of them, and XLA crashes without."""


@pytest.fixture(scope="module", autouse=True)
def forget_programs() -> Iterator[None]:
    """Drop all compiled programs now and then; those that took long come back from the cache on disk."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MAX_MEMORY_MAPS:
        jax.clear_caches()  # type: ignore[no-untyped-call]
        gc.collect()


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return ModelConfig(
        vocab_size=61,
        model_dim=16,
        ffn_dim=24,
        num_layers=2,
        num_query_heads=4,
        num_kv_heads=2,
        head_dim=8,
        context_length_tokens=64,
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_config: ModelConfig) -> Transformer:
    random = np.random.default_rng(0)

    def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        # Norm scales, too, are away from 1, so that a misplaced one shows.
        return jnp.asarray(random.normal(size=leaf.shape) / leaf.shape[-1] ** 0.5, leaf.dtype)

    model: Transformer = jax.tree.map(fill, eqx.filter_eval_shape(init_transformer, tiny_config, jax.random.key(0)))
    return model


class Pair(NamedTuple):
    """The directories of a dense and of a palettized bundle of the same weights. Copy what you want to damage."""

    server: Path
    device: Path
    model: Transformer
    """The dense one."""
    tokenizer: Tokenizer


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Bundles of a model that runs in milliseconds, filled by numpy: compiling the real `init` takes seconds."""
    text = (Path(__file__).parent / "data" / "alice.txt").read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_bytes(train_tokenizer([text], TokenizerConfig(vocab_size=600)))
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        model_dim=16,
        ffn_dim=24,
        num_layers=2,
        num_query_heads=2,
        num_kv_heads=1,
        head_dim=8,
        context_length_tokens=96,
    )
    random = np.random.default_rng(0)
    like = eqx.filter_eval_shape(init_transformer, shape, jax.random.key(0))
    model: Transformer = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), like)

    def run_server(config: object, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
        (out.path / "dense").mkdir(exist_ok=True)
        save_model(out.path / "dense", model, tokenizer_sha256=tokenizer.sha256)
        write_bundle_files(out.path, out.path / "dense", tokenizer)
        shutil.rmtree(out.path / "dense")
        return {}

    def run_device(config: BundleConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
        compressed: dict[str, Compressed] = {
            name: quantize_embedding(tensor) if name == EMBEDDING_NAME else palettize(tensor)
            for name, tensor in model_tensors(model).items()
            if tensor.ndim == 2
        }
        (out.path / "small").mkdir(exist_ok=True)
        save_compressed_model(out.path / "small", model, compressed, tokenizer_sha256=tokenizer.sha256)
        write_bundle_files(out.path, out.path / "small", tokenizer)
        shutil.rmtree(out.path / "small")
        adapted = with_residual(load_model(out.path), model, rank=2)
        save_adapter(out.path / "adapters" / "recovery", adapted, out.path)
        return {"bits_per_weight_projections": 4.0}

    store = tmp_path_factory.mktemp("bundles")
    stages = (
        Stage("server", "bundle", 1, BundleConfig(), {}, run_server),
        Stage("device", "bundle", 1, BundleConfig(), {}, run_device),
    )
    server, device = (run_stage(stage, {}, store, 0, SilentReporter()).path for stage in stages)
    return Pair(server, device, model, tokenizer)


class Foreign(NamedTuple):
    """A checkpoint as somebody else publishes it, and the bundle that was made of it."""

    checkpoint: Path
    bundle: Path


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    """Copy what you want to damage."""
    place = tmp_path_factory.mktemp("foreign")
    checkpoint = write_checkpoint(place / "theirs")
    return Foreign(checkpoint, import_checkpoint(checkpoint, place / "ours").path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: Pair) -> Path:
    """The working directory of a user: two bundles, a text."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pair.server, "server")
    shutil.copytree(pair.device, "device")
    Path("text.txt").write_text("Alice was beginning to get very tired.")
    return tmp_path


class TinyBuild(NamedTuple):
    """A build of the tiny recipe, all stages but the report's."""

    out: Path
    artifacts: dict[str, Artifact]

    def inputs(self, **stage_by_role: str) -> dict[str, Artifact]:
        """Finished stages as the inputs of another."""
        return {role: self.artifacts[stage] for role, stage in stage_by_role.items()}


class SilentBuildReporter(SilentReporter):
    """Shows nothing of a build either."""

    def stage_started(self, name: str, index: int, total: int) -> None:
        """Say nothing."""

    def stage_done(self, name: str, seconds: float, headline: str) -> None:
        """Say nothing."""

    def stage_reused(self, name: str) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def tiny_build(tmp_path_factory: pytest.TempPathFactory) -> TinyBuild:
    """Every stage, really run; most of its time is compilation."""
    out = tmp_path_factory.mktemp("tiny") / "build"
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        return TinyBuild(out, build(tiny(), out, until="report", reporter=SilentBuildReporter()))
