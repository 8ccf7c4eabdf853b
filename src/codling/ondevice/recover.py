"""The accuracy-recovery adapter (arXiv 2407.21075 section 5.1): low-rank, on every linear layer of a palettized model.

It starts from the best low-rank approximation of what palettization lost and is trained, the base frozen, to match the
uncompressed model's whole distribution on pre- and post-training text.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from codling.adapters.lora import attach_residual, merge, split
from codling.artifact.adapter_files import attach_adapter, save_adapter
from codling.artifact.model_files import load_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import Batch, build_loader
from codling.data.mixture import MixtureWeights
from codling.data.prepare import open_corpus
from codling.evaluate.heldout import heldout_figures
from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.train.loop import LoopConfig, rows_of_process, train
from codling.train.loss import LossSums
from codling.train.objective import matched
from codling.train.seed import seed_from
from codling.train.sharding import gather
from codling.train.spike import skip_figures


@config
class RecoverConfig:
    """The adapter's rank and its training."""

    loop: LoopConfig
    sequence_length_tokens: int
    """Length of a row."""
    mixture: MixtureWeights
    """Share of the rows by skill and by kind of pre-training text."""
    rank: int = 16
    """Rank of every layer's adapter (arXiv 2407.21075 section 5.1: 16 of 8, 16, 32)."""
    heldout_rows_per_kind: int = 24
    """Rows that the held-out loss is measured on."""


def run_recover(config: RecoverConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train the adapter. Inputs: model (palettized), teacher (uncompressed), tokens."""
    base_path = inputs["model"].path
    base, teacher = load_model(base_path), load_model(inputs["teacher"].path)
    corpus = open_corpus(inputs["tokens"].path)
    length = config.sequence_length_tokens
    rows = corpus.training_rows(config.mixture, row_length_tokens=length, seed=seed_from(key))
    measure = partial(
        heldout_figures,
        corpus=corpus,
        row_length_tokens=length,
        rows_per_kind=config.heldout_rows_per_kind,
        with_skills=True,
    )
    adapted = attach_residual(base, teacher, config.rank)
    figures = {"dense": measure(teacher), "palettized": measure(base), "adapter_start": measure(merge(adapted))}
    adapter, frozen_base = split(adapted)
    part = rows_of_process(config.loop, base.config, length)
    with build_loader(rows, config.mixture, batch_size_rows=config.loop.batch_size_rows, part=part) as loader:
        for record in train(config.loop, _loss, adapter, (frozen_base, teacher), loader, out, key):
            adapter = record.params
    adapter = gather(adapter)
    directory = out.path / "adapter"
    save_adapter(directory, eqx.combine(adapter, frozen_base), base_path)
    # Measured as users run it: read back from its 16-bit file.
    figures["recovered"] = measure(merge(attach_adapter(base, directory, base_path)))
    lost = _mean(figures["palettized"]) - _mean(figures["dense"])
    won_back = _mean(figures["palettized"]) - _mean(figures["recovered"])
    return {
        "num_tokens": config.loop.num_steps * config.loop.batch_size_rows * length,
        "heldout": figures,
        "nll_lost": lost,
        "share_won_back": won_back / lost if lost > 0 else 0.0,
        "num_adapter_parameters": sum(leaf.size for leaf in jax.tree.leaves(adapter)),
        **skip_figures(record.skips),
    }


def _loss(
    adapter: Transformer, frozen: tuple[Transformer, Transformer], batch: Batch, key: PRNGKeyArray, execution: Execution
) -> LossSums:
    base, teacher = frozen
    return matched(eqx.combine(adapter, base), teacher, batch, execution)


def _mean(figures: dict[str, Any]) -> float:
    """Mean loss over all kinds of text and skills."""
    by_kind = figures["nll_by_kind"]
    return float(sum(by_kind.values()) / len(by_kind))
