"""Log-probabilities of many answers under one model, as training sees them."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from codling.data.loader import Batch
from codling.model.execution import ComputeConfig, Execution
from codling.model.transformer import Transformer
from codling.posttrain.answer_log_probs import answer_log_probs
from codling.posttrain.answer_rows import AnswerRows
from codling.train.objective import last_hidden
from codling.train.sharding import gather, place_rows


class RowScores(NamedTuple):
    """Rows of an iteration under the model that was asked, [B, T]."""

    log_probs: np.ndarray
    entropies: np.ndarray


def score_rows(
    model: Transformer, *, rows: AnswerRows, mesh: Mesh, compute: ComputeConfig, batch_size_rows: int
) -> RowScores:
    """Log-probabilities and entropies of the answers' tokens under a model; zero off the mask."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(rows.tokens), batch_size_rows):
        part = AnswerRows(*(_fill_up(values[start : start + batch_size_rows], batch_size_rows) for values in rows))
        placed = place_rows((part.batch, part.mask), mesh, batch_size_rows)
        log_probs, entropies = gather(_score(model, *placed, compute=compute))
        found.append((np.asarray(log_probs), np.asarray(entropies)))
    return RowScores(*(np.concatenate(values)[: len(rows.tokens)] for values in zip(*found, strict=True)))


@partial(jax.jit, static_argnames="compute")
def _score(model: Transformer, batch: Batch, mask: Array, *, compute: ComputeConfig) -> tuple[Array, Array]:
    hidden = last_hidden(model, batch, Execution(compute))
    scored = answer_log_probs(hidden, model.embedding, jnp.asarray(batch.targets), mask, with_entropies=True)
    assert scored.entropies is not None
    return scored.log_probs, scored.entropies


def _fill_up(values: np.ndarray, num_rows: int) -> np.ndarray:
    return np.concatenate([values, np.zeros((num_rows - len(values), *values.shape[1:]), values.dtype)])
