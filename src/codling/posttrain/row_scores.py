"""Log-probabilities of many answers under one model, as training sees them."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from codling.model.execution import ComputeConfig, Execution
from codling.model.partition import DATA, Partition
from codling.model.transformer import Transformer
from codling.posttrain.group_rows import GroupRows, answers_of, group_log_probs, place_groups
from codling.train.sharding import gather, splits_rows_only


class RowScores(NamedTuple):
    """Answers of an iteration under the model that was asked; zero after each answer."""

    log_probs: Float[np.ndarray, "B M"]
    entropies: Float[np.ndarray, "B M"]


def score_rows(
    model: Transformer, *, rows: GroupRows, mesh: Mesh, compute: ComputeConfig, batch_size_rows: int
) -> RowScores:
    """Log-probabilities and entropies of the answers' tokens under a model, batch_size_rows prompts at a time."""
    num_answers = len(rows.places) // len(rows.tokens)
    scores = RowScores(np.zeros(rows.mask.shape, np.float32), np.zeros(rows.mask.shape, np.float32))
    # Rows of like length together: each batch is no longer than its own rows.
    by_length = np.argsort(rows.lengths_tokens, kind="stable")
    for start in range(0, len(by_length), batch_size_rows):
        chosen = by_length[start : start + batch_size_rows]
        # A last batch is filled up with its first row, so that it compiles like the others.
        filled = np.concatenate([chosen, np.repeat(chosen[:1], batch_size_rows - len(chosen))])
        found = gather(_score(model, place_groups(rows.take(filled), mesh), mesh=mesh, compute=compute))
        answers = answers_of(chosen, num_answers)
        for values, part in zip(scores, found, strict=True):
            values[answers] = np.asarray(part)[: len(answers)]
    return scores


@partial(jax.jit, static_argnames=("mesh", "compute"))
def _score(model: Transformer, rows: GroupRows, *, mesh: Mesh, compute: ComputeConfig) -> tuple[Array, Array]:
    """One batch; where the mesh splits rows only, each device's by itself, as in `train.step`."""

    def of_rows(model: Transformer, rows: GroupRows, execution: Execution) -> tuple[Array, Array]:
        scored = group_log_probs(model, rows, execution, with_entropies=True)
        assert scored.entropies is not None
        return scored.log_probs, scored.entropies

    if not splits_rows_only(mesh):
        return of_rows(model, rows, Execution(compute, Partition(mesh)))
    split, everywhere = PartitionSpec(DATA), PartitionSpec()  # type: ignore[no-untyped-call]
    sharded = jax.shard_map(
        partial(of_rows, execution=Execution(compute)),
        mesh=mesh,
        in_specs=(everywhere, split),
        out_specs=split,
        check_vma=False,  # the custom gradient of the blocks has not the annotations that the check wants
    )
    return sharded(model, rows)
