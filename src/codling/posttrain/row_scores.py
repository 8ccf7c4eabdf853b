"""Log-probabilities of many answers under one model, as training sees them."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from codling.model.execution import ComputeConfig, Execution
from codling.model.partition import Partition
from codling.model.transformer import Transformer
from codling.posttrain.group_rows import GroupRows, Groups, group_log_probs, place_groups
from codling.train.sharding import by_rows, gather, splits_rows_only


class GroupScores(NamedTuple):
    """Answers of an iteration under the model that was asked; zero after each answer."""

    log_probs: Float[np.ndarray, "B M"]
    entropies: Float[np.ndarray, "B M"]


def score_groups(
    model: Transformer, groups: Groups, *, mesh: Mesh, compute: ComputeConfig, batch_size_prompts: int
) -> GroupScores:
    """Log-probabilities and entropies of the answers' tokens under a model, batch_size_prompts prompts at a time."""
    scores = GroupScores(np.zeros(groups.mask.shape, np.float32), np.zeros(groups.mask.shape, np.float32))
    num_batches = -(-len(groups) // batch_size_prompts)
    # Dealt out by length, so that all batches have about as many tokens, and one shape.
    by_length = np.argsort(groups.lengths_tokens, kind="stable")
    for batch in range(num_batches):
        chosen = by_length[batch::num_batches]
        # A batch that is not full answers its first prompt again, so that it compiles like the others.
        filled = groups.spread(np.resize(chosen, batch_size_prompts), mesh)
        found = gather(_score(model, place_groups(groups.rows(filled, mesh), mesh), mesh=mesh, compute=compute))
        for values, part in zip(scores, found, strict=True):
            values[groups.numbers(filled)] = np.asarray(part)
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
    return by_rows(partial(of_rows, execution=Execution(compute)), mesh)(model, rows)
