"""A bundle recovered: whole, and the same bytes whether it was stopped in between or not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.artifact.bundle import adapter_names, load_bundle
from codling.artifact.workspace import SilentReporter
from codling.evaluate.perplexity import read_text
from codling.ondevice.compress_blocks import CompressConfig
from codling.ondevice.compress_bundle import CalibrationConfig, compress_bundle
from codling.ondevice.recover import RecoverConfig
from codling.ondevice.recover_bundle import recover_bundle
from codling.ondevice.user_rows import UserRows, read_user_rows
from codling.recipes.tiny import tiny
from tests.ondevice.stopping import StoppingReporter

TEXT = Path(__file__).parents[1] / "data" / "alice.txt"
NUM_STEPS = 5


@pytest.fixture(scope="module")
def small(pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("small") / "small"
    config, calibration = CompressConfig(target_bits_per_weight=5.0), CalibrationConfig(max_tokens=2048)
    return compress_bundle(pair.server, read_text(TEXT), out, config, calibration, 0, SilentReporter()).path


@pytest.fixture(scope="module")
def rows(pair: Any) -> UserRows:
    return read_user_rows([TEXT], [], pair.tokenizer, 64, seed=0)


def config(rows: UserRows) -> RecoverConfig:
    recover = tiny().device_recover
    loop = replace(recover.loop, num_steps=NUM_STEPS, save_every_steps=2)
    return replace(recover, loop=loop, sequence_length_tokens=64, mixture=rows.mixture)


def test_stopped_it_goes_on_and_ends_in_the_same_bytes(pair: Any, small: Path, rows: UserRows, tmp_path: Path) -> None:
    whole = recover_bundle(small, pair.server, rows, tmp_path / "whole", config(rows), 0, SilentReporter())
    stopping = StoppingReporter(NUM_STEPS, stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        recover_bundle(small, pair.server, rows, tmp_path / "stopped", config(rows), 0, stopping)
    assert not (tmp_path / "stopped").exists()
    again = recover_bundle(small, pair.server, rows, tmp_path / "stopped", config(rows), 0, SilentReporter())
    assert again.manifest.files_sha256 == whole.manifest.files_sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "whole"]
    assert adapter_names(again.path) == ["recovery"]
    assert load_bundle(again.path).adapter == "recovery"
    assert again.manifest.metrics["divergence"]["recovered"] < again.manifest.metrics["divergence"]["palettized"]
