"""A user's files as rows: nothing lost, nothing both trained on and measured on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.errors import UserError
from codling.ondevice.user_rows import read_user_rows

TEXT = Path(__file__).parents[1] / "data" / "alice.txt"


def tokens_of(rows: Any) -> list[int]:
    epoch = [rows[index] for index in range(rows.rows_per_epoch)]
    return sorted(int(token) for row in epoch for token in row.targets[row.segment_ids > 0])


def test_the_end_of_a_text_is_held_out_and_every_token_is_somewhere(pair: Any) -> None:
    rows = read_user_rows([TEXT], [], pair.tokenizer, 64, seed=0)
    ids = [*pair.tokenizer.begin_ids, *pair.tokenizer.encode(TEXT.read_text(encoding="utf-8"))]
    held = [token for batch in rows.heldout["text"] for token in batch.targets[batch.loss_weights > 0]]
    trained = tokens_of(rows.train["text"])
    assert len(held) == pytest.approx(0.05 * len(ids), abs=2)
    # Of each of the two parts the first token is no target.
    assert len(trained) + len(held) == len(ids) - 2
    np.testing.assert_array_equal(held, ids[-len(held) :])


def test_demonstrations_are_whole_and_count_by_their_rows(pair: Any, tmp_path: Path) -> None:
    path = tmp_path / "demonstrations.jsonl"
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    line = json.dumps({"messages": messages, "source": "own", "license": "CC0"})
    path.write_text(f"{line}\n" * 40)
    rows = read_user_rows([TEXT], [path], pair.tokenizer, 64, seed=0)
    shares = rows.mixture.share_by_kind
    assert shares.keys() == {"text", "demonstrations"}
    assert shares["text"] == rows.train["text"].rows_per_epoch
    weights = sum(int((batch.loss_weights > 0).sum()) for batch in rows.heldout["demonstrations"])
    alone = read_user_rows([], [path], pair.tokenizer, 64, seed=0)
    assert weights > 0
    assert alone.sha256 != rows.sha256
    assert alone.mixture.share_by_kind.keys() == {"demonstrations"}


def test_too_little_is_refused(pair: Any, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("a")
    with pytest.raises(UserError, match=r"text: \d tokens are not enough"):
        read_user_rows([tmp_path / "short.txt"], [], pair.tokenizer, 64, seed=0)
    with pytest.raises(UserError, match="nothing to train on"):
        read_user_rows([], [], pair.tokenizer, 64, seed=0)
