"""A feature adapter of a user's own demonstrations, on a bundle, stopped and gone on with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.artifact.bundle import load_bundle
from codling.artifact.workspace import SilentReporter
from codling.ondevice.adapt_bundle import adapt_bundle
from codling.ondevice.user_rows import DEMONSTRATIONS, UserRows, read_user_rows
from codling.recipes.tiny import tiny
from tests.ondevice.stopping import StoppingReporter

NUM_STEPS = 5


@pytest.fixture
def rows(pair: Any, tmp_path: Path) -> UserRows:
    path = tmp_path / "demonstrations.jsonl"
    messages = [{"role": "user", "content": "Is it odd?"}, {"role": "assistant", "content": "Yes."}]
    line = json.dumps({"messages": messages, "source": "own", "license": "CC0"})
    path.write_text(f"{line}\n" * 8)
    return read_user_rows([], [path], pair.tokenizer, 64, seed=0)


def test_stopped_it_goes_on_and_the_adapter_is_used(pair: Any, rows: UserRows, tmp_path: Path) -> None:
    feature = tiny().device_features["intents"]
    loop = replace(feature.loop, num_steps=NUM_STEPS, save_every_steps=2)
    config = replace(feature, loop=loop, sequence_length_tokens=64, mixture=rows.mixture)
    whole = adapt_bundle(pair.device, rows, tmp_path / "whole", config, 0, SilentReporter())
    with pytest.raises(KeyboardInterrupt):
        adapt_bundle(pair.device, rows, tmp_path / "odd", config, 0, StoppingReporter(NUM_STEPS, stop_at=3))
    again = adapt_bundle(pair.device, rows, tmp_path / "odd", config, 0, SilentReporter())
    assert again.manifest.files_sha256 == whole.manifest.files_sha256
    figures = again.manifest.metrics
    assert figures["nll_after"][DEMONSTRATIONS] < figures["nll_before"][DEMONSTRATIONS]
    opened = load_bundle(pair.device, str(again.path))
    assert opened.identity.endswith("+odd")
