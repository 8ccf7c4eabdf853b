"""How well a model predicts text: the negative log-likelihood of every token."""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int32

from codling.data.loader import Batch, iterate_once, stack_rows
from codling.data.pack import PackedRows
from codling.model.transformer import Transformer
from codling.train.sharding import by_rows, local_copies, local_mesh


class TextScore(NamedTuple):
    """The likelihood of a stretch of text."""

    nll_per_token: float
    """Mean negative log-likelihood, in nats."""
    bits_per_byte: float
    """Of the UTF-8 text: comparable between tokenizers."""
    accuracy: float
    """Share of the tokens that were the model's first choice."""
    tokens: int

    @property
    def perplexity(self) -> float:
        """exp(nll_per_token)."""
        return math.exp(self.nll_per_token)


class TokenScores(NamedTuple):
    """One figure a token."""

    nll: Float[Array, "B T"]
    """-log p of the target given what precedes it in its document."""
    is_first_choice: Bool[Array, "B T"]


def score_tokens(model: Transformer, batch: Batch) -> TokenScores:
    """Score every target, on all devices of this process that divide the rows."""
    mesh = local_mesh(len(batch.tokens))
    scores: TokenScores = jax.device_get(_score(local_copies(model, mesh), batch, mesh))
    return scores


@partial(jax.jit, static_argnames="mesh")
def _score(model: Transformer, batch: Batch, mesh: Mesh) -> TokenScores:
    return by_rows(_score_rows, mesh)(model, batch)


def _score_rows(model: Transformer, batch: Batch) -> TokenScores:
    """Logits are alive for one row at a time."""
    tokens, positions, segment_ids = map(jnp.asarray, (batch.tokens, batch.positions, batch.segment_ids))
    hidden = model(tokens, positions, segment_ids, rope_theta=model.config.rope_theta)

    def score_row(row: tuple[Array, Array]) -> TokenScores:
        row_hidden, targets = row
        logits = model.logits(row_hidden).astype(jnp.float32)
        picked = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
        return TokenScores(jax.nn.logsumexp(logits, axis=-1) - picked, jnp.argmax(logits, axis=-1) == targets)

    scores: TokenScores = jax.lax.map(score_row, (hidden, batch.targets))
    return scores


def score_batches(model: Transformer, batches: Iterable[Batch], lengths_bytes: Int32[np.ndarray, " V"]) -> TextScore:
    """Score every target with a loss weight."""
    nll = num_right = num_tokens = num_bytes = 0.0
    for batch, scores in _scored(model, batches):
        weights = np.asarray(batch.loss_weights, np.float64)
        nll += float((np.asarray(scores.nll, np.float64) * weights).sum())
        num_right += float((np.asarray(scores.is_first_choice) * weights).sum())
        num_tokens += float(weights.sum())
        num_bytes += float((lengths_bytes[batch.targets] * weights).sum())
    return TextScore(nll / num_tokens, nll / math.log(2) / num_bytes, num_right / num_tokens, int(num_tokens))


def _scored(model: Transformer, batches: Iterable[Batch]) -> Iterator[tuple[Batch, TokenScores]]:
    """Every batch with its scores; the model is copied to the devices once."""
    for batch in batches:
        model = local_copies(model, local_mesh(len(batch.tokens)))
        yield batch, score_tokens(model, batch)


def first_rows(rows: PackedRows, num_rows: int, batch_size_rows: int) -> Iterable[Batch]:
    """The first rows of an epoch in batches; all of them where there are fewer."""
    if num_rows >= rows.rows_per_epoch:
        return iterate_once(rows, batch_size_rows)
    count = max(1, num_rows // batch_size_rows)
    return (
        stack_rows([rows[batch * batch_size_rows + row] for row in range(batch_size_rows)]) for batch in range(count)
    )


def nll_by_position(model: Transformer, batches: Iterable[Batch], bounds_tokens: tuple[int, ...]) -> dict[str, float]:
    """Mean negative log-likelihood of the targets at positions [bounds[i], bounds[i + 1])."""
    sums, counts = np.zeros(len(bounds_tokens) - 1), np.zeros(len(bounds_tokens) - 1)
    for batch, scores in _scored(model, batches):
        nll = np.asarray(scores.nll, np.float64)
        for index, (low, high) in enumerate(pairwise(bounds_tokens)):
            chosen = (batch.positions >= low) & (batch.positions < high) & (batch.loss_weights > 0)
            sums[index] += nll[chosen].sum()
            counts[index] += chosen.sum()
    names = [f"{low}-{high}" for low, high in pairwise(bounds_tokens)]
    return {name: float(total / count) for name, total, count in zip(names, sums, counts, strict=True) if count}
