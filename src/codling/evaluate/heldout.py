"""The held-out loss that every training stage measures before and after itself, in one form for all of them."""

from collections.abc import Sequence
from typing import Any

from codling.data.prepare import Corpus, token_lengths_bytes
from codling.evaluate.score import score_kinds
from codling.model.transformer import Transformer

HELDOUT_BATCH_ROWS = 8
HELDOUT_SEED = 0
"""The held-out rows are the same for every stage."""


def heldout_figures(
    model: Transformer, corpora: Sequence[Corpus], *, row_length_tokens: int, rows_per_kind: int
) -> dict[str, Any]:
    """Loss a token by kind of text or skill; `nll` is the mean over kinds of text, `nll_skills` over skills."""
    figures: dict[str, Any] = {"nll_by_kind": {}}
    for corpus in corpora:
        rows = {
            kind: corpus.rows("heldout", kind, row_length_tokens=row_length_tokens, seed=HELDOUT_SEED)
            for kind in corpus.kinds()
        }
        scores = score_kinds(
            model,
            rows,
            token_lengths_bytes(corpus.tokenizer),
            rows_per_kind=rows_per_kind,
            batch_size_rows=HELDOUT_BATCH_ROWS,
        )
        by_kind = {kind: score.nll_per_token for kind, score in scores.items()}
        figures["nll_by_kind"] |= by_kind
        mean = sum(by_kind.values()) / len(by_kind)
        if corpus.is_conversations:
            figures["nll_skills"] = mean
        else:
            figures["nll"] = mean
            figures["bits_per_byte"] = sum(score.bits_per_byte for score in scores.values()) / len(scores)
    return figures
