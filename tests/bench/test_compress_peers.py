from pathlib import Path
from typing import Any

import pytest

from codling.artifact.hf import tensor_shapes
from codling.bench.compress_peers import PEERS, peer_results
from codling.errors import UserError

TEXTS = ["Alice was beginning to get very tired of sitting by her sister on the bank."] * 100


def test_peers_run_in_the_order_asked_for(pair: Any, tmp_path: Path) -> None:
    results = list(peer_results(pair.server, TEXTS, tmp_path, ["nearest", "nearest"]))
    assert [result.name for result in results[:2]] == [result.name for result in results[2:]]
    shapes = tensor_shapes(pair.model.config)
    assert all({name: one.shape for name, one in result.weights.items()} == shapes for result in results)


def test_an_unknown_peer_is_refused(pair: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"unknown peer 'zip' \\(known: {', '.join(PEERS)}\\)"):
        peer_results(pair.server, TEXTS, tmp_path, ["nearest", "zip"])


def test_a_compressed_bundle_is_refused(pair: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is compressed already"):
        peer_results(pair.device, TEXTS, tmp_path, ["nearest"])


def test_too_little_text_is_refused(pair: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give more"):
        peer_results(pair.server, TEXTS[:1], tmp_path, ["nearest"])


def test_a_missing_program_is_named_before_anything_is_computed(pair: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no llama-imatrix in"):
        peer_results(pair.server, TEXTS, tmp_path, ["nearest", "llama.cpp"], llama_tools=tmp_path)
