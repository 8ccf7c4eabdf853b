"""How llama.cpp's programs are called, with shell scripts in their place; the real ones: `tests/live`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.artifact.bundle import load_bundle
from codling.artifact.hf import model_tensors
from codling.bench.compress_llama import IMATRIX, QUANTIZE, TYPES, calibration_text, compress_llama, find_tools
from codling.bench.peer_result import PeerInput
from codling.errors import UserError
from codling.ondevice.compress_bundle import CalibrationConfig, calibration_batches

TEXTS = ["Alice was beginning to get very tired of sitting by her sister on the bank.", "Oh dear!"]

FAKE_IMATRIX = """#!/bin/sh
echo "$@" >> "$0.calls"
touch "$6"
"""
FAKE_QUANTIZE = """#!/bin/sh
echo "$@" >> "$0.calls"
cp "$3" "$4"
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    directory = tmp_path / "tools"
    directory.mkdir()
    for name, script in ((IMATRIX, FAKE_IMATRIX), (QUANTIZE, FAKE_QUANTIZE)):
        (directory / name).write_text(script)
        (directory / name).chmod(0o755)
    return directory


@pytest.fixture
def given(pair: Any, tmp_path: Path, tools: Path) -> PeerInput:
    bundle = load_bundle(pair.server)
    rows = calibration_batches(TEXTS * 40, bundle.tokenizer, CalibrationConfig(row_length_tokens=64), 96)
    return PeerInput(bundle, rows, tmp_path, tools, print)


def test_every_type_is_made_with_the_importance_matrix(given: PeerInput, tools: Path) -> None:
    results = list(compress_llama(given))
    assert [result.name for result in results] == [f"llama.cpp {name} + imatrix" for name in TYPES]
    for result in results:
        assert result.bits_per_weight_projections == result.bits_per_weight_total == 32
        for name, values in model_tensors(given.bundle.model).items():
            np.testing.assert_array_equal(result.weights[name], values)
    (call,) = (tools / f"{IMATRIX}.calls").read_text().splitlines()
    dense, importance = given.scratch / "dense.gguf", given.scratch / "imatrix.gguf"
    assert call.startswith(f"-m {dense} -f {given.scratch / 'calibration.txt'} -o {importance} -c 64 ")
    calls = (tools / f"{QUANTIZE}.calls").read_text().splitlines()
    assert calls == [f"--imatrix {importance} {dense} {given.scratch / 'quantized.gguf'} {name}" for name in TYPES]


def test_the_text_is_that_of_the_rows(given: PeerInput) -> None:
    text = calibration_text(given)
    assert text.count("Oh dear!") > 30
    assert set(text) == set("".join(TEXTS)) | {"\n"}


def test_a_program_that_fails_is_named(given: PeerInput, tools: Path) -> None:
    (tools / QUANTIZE).write_text("#!/bin/sh\necho 'no such type' >&2\nexit 3\n")
    with pytest.raises(UserError, match="llama-quantize ended with status 3:\nno such type"):
        list(compress_llama(given))


def test_a_missing_program_is_named_at_once(given: PeerInput, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tools / QUANTIZE).unlink()
    with pytest.raises(UserError, match=f"there is no llama-quantize in {tools}; build it"):
        compress_llama(given)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(UserError, match="there is no llama-quantize on the PATH"):
        find_tools(None)
