import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.bundle import load_bundle
from codling.errors import UserError
from codling.evaluate.perplexity import read_text, score_text
from codling.model.transformer import Transformer

FLOAT32_TOLERANCE = 1e-4


def reference_nll(model: Transformer, ids: list[int]) -> list[float]:
    """Row by row of the context length, each from position 0."""
    nll: list[float] = []
    length = model.config.context_length_tokens
    for start in range(0, len(ids) - 1, length):
        row = ids[start : start + length + 1]
        tokens = jnp.asarray(row[:-1], jnp.int32)[None]
        positions = jnp.arange(len(row) - 1, dtype=jnp.int32)[None]
        hidden = model(tokens, positions, jnp.ones_like(positions), rope_theta=model.config.rope_theta)
        log_p = np.asarray(jax.nn.log_softmax(model.logits(hidden[0])), np.float64)
        nll += (-log_p[np.arange(len(row) - 1), row[1:]]).tolist()
    return nll


@pytest.mark.parametrize("num_characters", [40, 900])
def test_every_token_is_predicted_once_from_its_row(pair: Any, alice: str, num_characters: int) -> None:
    text = alice[:num_characters]
    ids = pair.tokenizer.encode(text)
    expected = reference_nll(pair.model, [pair.tokenizer.bos_id, *ids])
    score = score_text(pair.model, pair.tokenizer, [text])
    assert score.tokens == len(ids) == len(expected)
    assert score.nll_per_token == pytest.approx(np.mean(expected), abs=FLOAT32_TOLERANCE)
    assert score.bits_per_byte == pytest.approx(sum(expected) / math.log(2) / len(text.encode()), abs=FLOAT32_TOLERANCE)
    assert score.perplexity == pytest.approx(math.exp(score.nll_per_token))


def test_documents_do_not_see_each_other(pair: Any, alice: str) -> None:
    parts = [alice[:30], alice[30:70]]
    whole = score_text(pair.model, pair.tokenizer, parts)
    alone = [score_text(pair.model, pair.tokenizer, [part]) for part in parts]
    total = sum(score.nll_per_token * score.tokens for score in alone)
    assert whole.tokens == sum(score.tokens for score in alone)
    assert whole.nll_per_token == pytest.approx(total / whole.tokens, abs=FLOAT32_TOLERANCE)


def test_a_file_is_one_document_to_its_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes("  first\n\n\nsecond é \n".encode())
    assert read_text(path) == ["  first\n\n\nsecond é \n"]


def test_records_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("one", "two")))
    assert read_text(path) == ["one", "two"]


@pytest.mark.parametrize("content", [b"", b" \n\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.txt: holds no text"):
        read_text(tmp_path / "a.txt")


def test_what_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.txt: not UTF-8 at byte 0; convert it"):
        read_text(tmp_path / "a.txt")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_text(tmp_path / "a.txt")


@pytest.fixture(scope="module")
def alice() -> str:
    return (Path(__file__).parents[1] / "data" / "alice.txt").read_text(encoding="utf-8")


def test_an_imported_bundle_predicts_all_but_a_first_token_that_nothing_precedes(foreign: Any, alice: str) -> None:
    opened = load_bundle(foreign.bundle)
    text = alice[:300]
    ids = opened.tokenizer.encode(text)
    score = score_text(opened.model, opened.tokenizer, [text])
    assert score.tokens == len(ids) - 1
    num_bytes = len(text.encode()) - len(opened.tokenizer.token_bytes[ids[0]])
    assert score.bits_per_byte * math.log(2) * num_bytes == pytest.approx(score.nll_per_token * score.tokens)
