"""What is refused before anything is computed, and the count of bits; the library itself: `tests/live`."""

from pathlib import Path
from typing import Any

import pytest

from codling.artifact.bundle import load_bundle
from codling.bench import compress_gptq as module
from codling.bench.compress_gptq import Setting, compress_gptq, stored_bits
from codling.bench.peer_result import PeerInput
from codling.errors import UserError


@pytest.fixture
def given(pair: Any, tmp_path: Path) -> PeerInput:
    return PeerInput(load_bundle(pair.server), [], tmp_path, None, print)


def test_without_the_library_the_command_is_named(given: PeerInput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("jax", "no_such_compressor"))
    with pytest.raises(UserError, match="the peer gptq needs no_such_compressor: pip install"):
        compress_gptq(given)


def test_groups_that_do_not_divide_a_matrix_are_refused(given: PeerInput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ())
    with pytest.raises(UserError, match=r"q_proj.weight: groups of 128 do not divide its 16 inputs"):
        compress_gptq(given)


def test_a_group_has_a_scale_and_a_zero() -> None:
    assert stored_bits((3, 256), Setting(4, 128)) == 3 * (256 * 4 + 2 * (16 + 4))
    assert stored_bits((3, 256), Setting(3, 64)) == 3 * (256 * 3 + 4 * (16 + 3))
