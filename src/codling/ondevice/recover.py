"""The accuracy-recovery adapter (arXiv 2407.21075 section 5.1): low-rank, on every linear layer of a palettized model.

It starts from the low-rank part of what palettization lost (`recovery_start`) and is trained to match the uncompressed
model's whole distribution on pre- and post-training text. The base is frozen, up to its tables and row scales, which
may train with the adapter: 1 in 16 to 1 in 64 of the numbers, and no cost at run time. The result is a base and an
adapter that belong together.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from codling.adapters.lora import attach, merge, split
from codling.artifact.adapter_files import attach_adapter, save_adapter
from codling.artifact.hf import CONFIG_FILE, WEIGHTS_FILE
from codling.artifact.manifest import read_manifest
from codling.artifact.model_files import (
    load_compressed,
    load_model,
    save_compressed_model,
    special_ids_of,
    tokenizer_of,
)
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.compress.palettize import PalettizedMatrix
from codling.config import config
from codling.data.loader import Batch, BatchLoader, build_loader
from codling.data.mixture import MixtureWeights
from codling.data.pack import PackedRows
from codling.data.prepare import Corpus, open_corpus
from codling.evaluate.divergence import measure_divergence
from codling.evaluate.heldout import HELDOUT_BATCH_ROWS, heldout_figures
from codling.evaluate.score import first_rows
from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.ondevice.blocks import Blocks
from codling.ondevice.recovery_start import NUM_PASSES, RecoveryStart, attach_recovery
from codling.ondevice.rotate_blocks import RotatedBlocks
from codling.ondevice.trainable_tables import close_tables, open_tables
from codling.train.loop import LoopConfig, rows_of_process, train
from codling.train.loss import LossSums
from codling.train.objective import matched
from codling.train.seed import seed_from
from codling.train.sharding import gather
from codling.train.spike import skip_figures
from codling.train.step import LossFunction

ADAPTER_DIRECTORY = "adapter"


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
    trains_tables: bool = True
    """Whether the base's tables and row scales train, too. Ours."""
    start: RecoveryStart = RecoveryStart.WEIGHTED
    """Where the adapter starts."""
    hidden_weight: float = 0.0
    """Weight of the last hidden state's relative squared error beside the divergence."""
    calibration_batches: int = 8
    """Of training rows, by which the start is chosen."""
    heldout_rows_per_kind: int = 24
    """Rows that the divergence is measured on."""

    def __post_init__(self) -> None:
        if self.hidden_weight < 0 or self.calibration_batches < 1:
            raise ValueError("hidden_weight must not be negative, calibration_batches must be at least 1")


def run_recover(config: RecoverConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train the adapter. Inputs: model (palettized), teacher (uncompressed), tokens."""
    corpus, length = open_corpus(inputs["tokens"].path), config.sequence_length_tokens
    rows = corpus.training_rows(config.mixture, row_length_tokens=length, seed=seed_from(key))
    teacher = load_model(inputs["teacher"].path)
    batches = heldout_batches(corpus, length, config.heldout_rows_per_kind)

    def measure(model: Transformer) -> dict[str, Any]:
        return {
            **heldout_figures(
                model,
                corpus,
                row_length_tokens=length,
                rows_per_kind=config.heldout_rows_per_kind,
                with_skills=True,
            ),
            **divergence_figures(model, teacher, batches),
        }

    return recover(config, inputs["model"].path, teacher, rows, measure, out, key)


def recover(
    config: RecoverConfig,
    base_directory: Path,
    teacher: Transformer,
    rows: Mapping[str, PackedRows],
    measure: Callable[[Transformer], dict[str, Any]],
    out: Workspace,
    key: PRNGKeyArray,
) -> dict[str, Any]:
    """Write a base and its adapter into the workspace, and return what `measure` says before, between and after.

    What it says includes `divergence_figures`. Errors: `UserError` when the rank does not fit a layer.
    """
    base = load_model(base_directory)
    part = rows_of_process(config.loop, base.config, config.sequence_length_tokens)
    compressed = load_compressed(base_directory)
    matrices = {name: matrix for name, matrix in compressed.items() if isinstance(matrix, PalettizedMatrix)}
    with build_loader(rows, config.mixture, batch_size_rows=config.loop.batch_size_rows, part=part) as loader:
        dense = as_palettized(teacher, base_directory)
        opened = open_tables(base, matrices) if config.trains_tables else base
        start = _start(config, opened, dense, loader, out, key)
        figures = {"dense": measure(teacher), "palettized": measure(base), "adapter_start": measure(merge(start))}
        trained, frozen = split(start, with_tables=config.trains_tables)
        loss_fn = matching_loss(config.hidden_weight)
        for record in train(config.loop, loss_fn, trained, (frozen, teacher), loader, out, key):
            trained = record.params
    recovered = eqx.combine(gather(trained), frozen)
    if config.trains_tables:
        save_compressed_model(
            out.path,
            base,
            {**compressed, **close_tables(recovered, matrices)},
            tokenizer_sha256=tokenizer_of(base_directory),
            special_ids=special_ids_of(base_directory),
        )
    else:
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            shutil.copyfile(base_directory / name, out.path / name)
    save_adapter(out.path / ADAPTER_DIRECTORY, recovered, out.path)
    # Measured as users run it: read back from its 16-bit file, on tables of int8.
    reread = attach_adapter(load_model(out.path), out.path / ADAPTER_DIRECTORY, out.path)
    figures["recovered"] = measure(merge(reread))
    divergence = {name: found["divergence"]["mean_nats"] for name, found in figures.items()}
    won_back = divergence["palettized"] - divergence["recovered"]
    adapter, _ = split(recovered)
    return {
        "num_tokens": config.loop.num_steps * config.loop.batch_size_rows * config.sequence_length_tokens,
        "heldout": figures,
        "divergence": divergence,
        "share_won_back": won_back / divergence["palettized"] if divergence["palettized"] > 0 else 0.0,
        "num_adapter_parameters": sum(leaf.size for leaf in jax.tree.leaves(adapter)),
        "trains_tables": config.trains_tables,
        **skip_figures(record.skips),
    }


def divergence_figures(model: Transformer, teacher: Transformer, batches: Sequence[Batch]) -> dict[str, Any]:
    """How far a model is from its teacher on held-out rows."""
    return {"divergence": measure_divergence(model, teacher, batches)._asdict()}


def as_palettized(teacher: Transformer, base_directory: Path) -> Blocks:
    """The teacher with its channels rotated as the base's were, so that their weights can be compared."""
    # A bundle from before there were rotations says nothing of them.
    compress = read_manifest(base_directory).config.get("compress", {})
    values, residual = (compress.get(name, False) for name in ("rotate_values", "rotate_residual"))
    return RotatedBlocks(teacher, values=values, residual=residual)


def heldout_batches(corpus: Corpus, row_length_tokens: int, rows_per_kind: int) -> list[Batch]:
    """Held-out rows of all kinds and skills; equally many a kind, where there are as many."""
    kinds = [*corpus.text_kinds, *corpus.skills]
    rows = [corpus.heldout_rows(kind, row_length_tokens=row_length_tokens) for kind in kinds]
    return [batch for part in rows for batch in first_rows(part, rows_per_kind, HELDOUT_BATCH_ROWS)]


def _start(
    config: RecoverConfig,
    base: Transformer,
    dense: Blocks,
    loader: BatchLoader,
    out: Workspace,
    key: PRNGKeyArray,
) -> Transformer:
    """The base with the adapter that the first training rows speak for."""
    if config.start is RecoveryStart.ZERO:
        return attach(base, config.rank, key)
    place = loader.get_state()
    batches = list(islice(loader, config.calibration_batches))
    loader.set_state(place)
    with out.progress(NUM_PASSES * base.config.num_layers) as progress:
        return attach_recovery(base, dense, batches, config.rank, key, config.start, progress.update)


@lru_cache
def matching_loss(hidden_weight: float) -> LossFunction[Transformer]:
    """Divergence from the teacher; for equal weights the same object, so that stages share one compiled step.

    What is frozen is (the rest of the model, the teacher).
    """

    def loss(
        trained: Transformer,
        frozen: tuple[Transformer, Transformer],
        batch: Batch,
        key: PRNGKeyArray,
        execution: Execution,
    ) -> LossSums:
        rest, teacher = frozen
        return matched(eqx.combine(trained, rest), teacher, batch, execution, hidden_weight=hidden_weight)

    return loss
