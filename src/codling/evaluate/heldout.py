"""The held-out loss that every training stage measures before and after itself, in one form for all of them."""

from collections.abc import Sequence
from typing import Any

from codling.data.prepare import Corpus, token_lengths_bytes
from codling.evaluate.score import TextScore, first_rows, score_batches
from codling.model.transformer import Transformer

HELDOUT_BATCH_ROWS = 8


def heldout_figures(
    model: Transformer, corpus: Corpus, *, row_length_tokens: int, rows_per_kind: int, with_skills: bool = False
) -> dict[str, Any]:
    """Loss a token by kind; `nll`, `bits_per_byte` and `accuracy` are means over the kinds of text."""

    def score(kind: str) -> TextScore:
        rows = corpus.heldout_rows(kind, row_length_tokens=row_length_tokens)
        lengths_bytes = token_lengths_bytes(corpus.tokenizer)
        return score_batches(model, first_rows(rows, rows_per_kind, HELDOUT_BATCH_ROWS), lengths_bytes)

    text = {kind: score(kind) for kind in corpus.text_kinds}
    skills = {kind: score(kind) for kind in corpus.skills} if with_skills else {}
    figures = {
        "nll": _mean([part.nll_per_token for part in text.values()]),
        "bits_per_byte": _mean([part.bits_per_byte for part in text.values()]),
        "accuracy": _mean([part.accuracy for part in text.values()]),
        "nll_by_kind": {kind: part.nll_per_token for kind, part in (text | skills).items()},
    }
    return figures | ({"nll_skills": _mean([part.nll_per_token for part in skills.values()])} if skills else {})


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
