"""Kernels, file readers, models and threads under the address, undefined-behavior and thread sanitizers."""

from pathlib import Path

import pytest

from codling.engine import _native
from tests.engine.test_models import CONFIGS, write_model
from tests.native.programs import build, find_tool, run

pytestmark = pytest.mark.slow

WEIGHTS = {"grouped": "4 bits", "one key head": "2 bits", "llama": "BF16"}
"""A type of weights for each shape of a model."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("models")
    return [write_model(directory / weights, CONFIGS[shape], weights) for shape, weights in WEIGHTS.items()]


@pytest.fixture(scope="module")
def checked_memory() -> Path:
    find_tool("g++", "g++")
    return build("address", "-DCMAKE_CXX_COMPILER=g++", "-DCODLING_SANITIZE=address,undefined")


@pytest.fixture(scope="module")
def checked_threads() -> Path:
    find_tool("g++", "g++")
    return build("thread", "-DCMAKE_CXX_COMPILER=g++", "-DCODLING_SANITIZE=thread")


def test_kernels_stay_within_their_memory(checked_memory: Path) -> None:
    said = run([checked_memory / "kernel_check"]).splitlines()
    assert said == [f"{name}: ok" for name in _native.runnable_kernels()]


def test_models_stay_within_their_memory(checked_memory: Path, models: list[Path]) -> None:
    assert run([checked_memory / "model_check", *models]) == "models: ok\n"


def test_requests_stay_within_their_memory(checked_memory: Path, models: list[Path]) -> None:
    assert run([checked_memory / "scheduler_check", *models]) == "schedulers: ok\n"


def test_the_pool_shares_nothing_unguarded(checked_threads: Path) -> None:
    assert run([checked_threads / "pool_check"]) == "pools: ok\n"


def test_models_share_nothing_unguarded(checked_threads: Path, models: list[Path]) -> None:
    assert run([checked_threads / "model_check", models[0]]) == "models: ok\n"


def test_requests_share_nothing_unguarded(checked_threads: Path, models: list[Path]) -> None:
    assert run([checked_threads / "scheduler_check", models[0]]) == "schedulers: ok\n"
