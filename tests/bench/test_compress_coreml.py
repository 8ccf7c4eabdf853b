"""What is refused before anything is computed; the library itself: `tests/live`."""

from pathlib import Path
from typing import Any

import pytest

from codling.artifact.bundle import load_bundle
from codling.bench import compress_coreml as module
from codling.bench.compress_coreml import compress_coreml
from codling.bench.peer_result import PeerInput
from codling.errors import UserError


@pytest.fixture
def given(pair: Any, tmp_path: Path) -> PeerInput:
    return PeerInput(load_bundle(pair.server), [], tmp_path, None, print)


def test_without_the_library_the_extra_is_named(given: PeerInput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("jax", "no_such_tools"))
    with pytest.raises(UserError, match=r"the peer coremltools needs no_such_tools: pip install 'codling\[compare\]'"):
        compress_coreml(given)


def test_rows_that_do_not_divide_into_tables_are_refused(given: PeerInput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ())
    with pytest.raises(UserError, match="tables of 16 rows do not divide its"):
        compress_coreml(given)
