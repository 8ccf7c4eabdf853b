"""A feature adapter (arXiv 2407.21075 section 5.2): it starts from the recovery adapter and learns one task.

The base stays as it is, tables included, so that any number of features share it. The adapter's files name the base by
its hash; attaching it to another one is an error.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from codling.adapters.lora import merge, split
from codling.artifact.adapter_files import attach_adapter, save_adapter
from codling.artifact.model_files import load_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import Batch, build_loader
from codling.data.mixture import MixtureWeights
from codling.data.pack import PackedRows
from codling.data.prepare import open_corpus, token_lengths_bytes
from codling.evaluate.heldout import HELDOUT_BATCH_ROWS
from codling.evaluate.score import first_rows, score_batches
from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.ondevice.recover import ADAPTER_DIRECTORY
from codling.train.loop import LoopConfig, rows_of_process, train
from codling.train.loss import LossSums
from codling.train.objective import next_token
from codling.train.seed import seed_from
from codling.train.sharding import gather
from codling.train.spike import skip_figures


@config
class AdaptConfig:
    """What a feature learns from, and for how long. The rank is the recovery adapter's."""

    loop: LoopConfig
    sequence_length_tokens: int
    """Length of a row; no conversation may be longer."""
    mixture: MixtureWeights
    """The skill that is learned, and perhaps others beside it; the first is what the feature is measured by."""
    heldout_rows: int = 24
    """Rows of each skill that the loss is measured on."""


def run_adapt(config: AdaptConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train a feature's adapter. Inputs: model (palettized, with its recovery adapter), tokens."""
    corpus, length = open_corpus(inputs["tokens"].path), config.sequence_length_tokens
    rows = corpus.training_rows(config.mixture, row_length_tokens=length, seed=seed_from(key))
    lengths_bytes = token_lengths_bytes(corpus.tokenizer)
    heldout = {
        kind: list(
            first_rows(corpus.heldout_rows(kind, row_length_tokens=length), config.heldout_rows, HELDOUT_BATCH_ROWS)
        )
        for kind in config.mixture.share_by_kind
    }

    def measure(model: Transformer) -> dict[str, float]:
        return {kind: score_batches(model, part, lengths_bytes).nll_per_token for kind, part in heldout.items()}

    base = inputs["model"].path
    return adapt(config, base, base / ADAPTER_DIRECTORY, rows, measure, out, key)


def adapt(
    config: AdaptConfig,
    base_directory: Path,
    start: Path,
    rows: Mapping[str, PackedRows],
    measure: Callable[[Transformer], dict[str, float]],
    out: Workspace,
    key: PRNGKeyArray,
) -> dict[str, Any]:
    """Train on from the adapter in `start`, and write the result into the workspace.

    Errors: `UserError` where the start was trained for another base.
    """
    adapted = attach_adapter(load_model(base_directory), start, base_directory)
    before = measure(merge(adapted))
    trained, frozen = split(adapted)
    part = rows_of_process(config.loop, adapted.config, config.sequence_length_tokens)
    with build_loader(rows, config.mixture, batch_size_rows=config.loop.batch_size_rows, part=part) as loader:
        for record in train(config.loop, _next_token, trained, frozen, loader, out, key):
            trained = record.params
    save_adapter(out.path, eqx.combine(gather(trained), frozen), base_directory)
    reread = attach_adapter(load_model(base_directory), out.path, base_directory)
    return {
        "num_tokens": config.loop.num_steps * config.loop.batch_size_rows * config.sequence_length_tokens,
        "nll_before": before,
        "nll_after": measure(merge(reread)),
        "num_adapter_parameters": sum(leaf.size for leaf in jax.tree.leaves(trained)),
        **skip_figures(record.skips),
    }


def _next_token(
    trained: Transformer, frozen: Transformer, batch: Batch, key: PRNGKeyArray, execution: Execution
) -> LossSums:
    return next_token(eqx.combine(trained, frozen), batch, execution)
