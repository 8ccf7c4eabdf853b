"""Quality against bits a weight: codling's compression next to other libraries', of one model, on the same texts.

Everything is run by our own model on the same held-out rows, so that only weights differ. Nearer to the uncompressed
model is better: divergence a token, its tail, agreement of the first choice, perplexity.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from codling.artifact.bundle import NO_ADAPTER, Bundle, load_bundle
from codling.artifact.hf import model_from_tensors, model_tensors
from codling.artifact.model_files import load_compressed, stored_bits
from codling.artifact.stage import load_artifact
from codling.artifact.workspace import SilentReporter
from codling.bench.compress_peers import peer_results
from codling.compress.palettize import PalettizedMatrix, palettize
from codling.data.loader import Batch, iterate_once
from codling.data.pack import PackedRows
from codling.data.tokens import tokenize_documents
from codling.evaluate.divergence import Divergence, measure_divergence
from codling.evaluate.perplexity import read_text
from codling.model.count import count_parameters
from codling.ondevice.compress_blocks import CompressConfig
from codling.ondevice.compress_bundle import CalibrationConfig, compress_bundle
from codling.ondevice.compress_choices import SensitivityMethod
from codling.ondevice.recover import RecoverConfig
from codling.ondevice.recover_bundle import recover_bundle
from codling.ondevice.recovery_start import RecoveryStart
from codling.ondevice.user_rows import UserRows, read_user_rows
from codling.train.adamw import AdamWConfig
from codling.train.loop import LoopConfig
from codling.train.optimizer import OptimizerConfig
from codling.train.schedule import ScheduleConfig

TARGETS_BITS = (4.2, 4.0, 3.7, 3.5, 3.0, 2.1)
"""The least is what tables and scales leave of 2.0 at narrow widths."""
STUDIED_BITS = 3.0
"""Where each ingredient is switched off in turn: low enough that it shows."""
RANKS = (8, 16, 32)
"""Of adapters; the second is the usual one."""
USUAL_BITS, LONG_TRAINING = 3.7, 5
"""Where recovery is tried with so many times the steps."""
BATCH_ROWS = 8


class CompressBenchConfig(NamedTuple):
    """How much is measured."""

    max_heldout_tokens: int = 65_536
    calibration: CalibrationConfig = CalibrationConfig()
    recovery_steps: int = 200
    recovery_rate: float = 1e-3
    recovery_batch_rows: int = 4
    seed: int = 0


class CompressFigure(NamedTuple):
    """One way to compress the model."""

    name: str
    bits_per_weight_projections: float
    bits_per_weight_total: float
    """Of everything but adapters."""
    bits_per_weight_adapter: float
    """16-bit adapters, over all weights of the model; they shrink with its width."""
    divergence: Divergence


def run_compress_bench(
    bundle: Path,
    calibration: Path,
    heldout: Path,
    scratch: Path,
    peers: Sequence[str],
    *,
    llama_tools: Path | None = None,
    config: CompressBenchConfig,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[CompressFigure]:
    """Compress in every way, one after the other; what lies in `scratch` from an earlier run is taken as it is.

    Errors: `UserError` as for `compress_bundle`, `recover_bundle` and `peer_results`.
    """
    opened = load_bundle(bundle, NO_ADAPTER)
    documents = read_text(calibration)
    batches = _heldout(opened, read_text(heldout), config.max_heldout_tokens)
    dense = opened.model
    yield CompressFigure("uncompressed", 32.0, 32.0, 0.0, measure_divergence(dense, dense, batches))
    bench = _Bench(opened, bundle, documents, calibration, batches, scratch, config, say)
    theirs = peer_results(
        bundle, documents, scratch, peers, say, llama_tools=llama_tools, calibration=config.calibration
    )
    for result in theirs:
        model = model_from_tensors(dense.config, result.weights, source=result.name)
        bits = result.bits_per_weight_projections, result.bits_per_weight_total
        yield CompressFigure(result.name, *bits, 0.0, measure_divergence(model, dense, batches))
    ours = {f"codling {target:g}": CompressConfig(target_bits_per_weight=target) for target in TARGETS_BITS}
    for name, compress in ours.items():
        yield bench.ours(name, compress)
    for name, compress in ours.items():
        yield bench.recovered(f"{name} + recovery", bench.compressed(name, compress), bench.recovery())
    yield from bench.ingredients()


class _Bench(NamedTuple):
    """One model, its texts, and where results lie."""

    opened: Bundle
    path: Path
    documents: Sequence[str]
    calibration: Path
    batches: Sequence[Batch]
    scratch: Path
    config: CompressBenchConfig
    say: Callable[[str], None]

    def ours(self, name: str, compress: CompressConfig) -> CompressFigure:
        """The bundle compressed, without recovery."""
        return self.figure(name, self.compressed(name, compress))

    def compressed(self, name: str, compress: CompressConfig) -> Path:
        """The bundle, compressed."""
        out = self.scratch / _file_name(name)
        if not out.exists():
            self.say(f"{name}: compressing")
            seed, reporter = self.config.seed, SilentReporter()
            compress_bundle(self.path, self.documents, out, compress, self.config.calibration, seed, reporter)
        return out

    def recovered(self, name: str, small: Path, recovery: RecoverConfig) -> CompressFigure:
        """A compressed bundle, recovered."""
        out = self.scratch / _file_name(name)
        if not out.exists():
            self.say(f"{name}: training")
            recover_bundle(small, self.path, self.rows(), out, recovery, self.config.seed, SilentReporter())
        return self.figure(name, out)

    def figure(self, name: str, directory: Path) -> CompressFigure:
        """What a bundle of ours says, its adapter with it."""
        bundle = load_bundle(directory)
        stored = stored_bits(directory)
        num_adapter = load_artifact(directory).manifest.metrics.get("num_adapter_parameters", 0)
        figure = CompressFigure(
            name,
            stored.bits_per_weight_projections,
            stored.bits_per_weight_total,
            16 * num_adapter / count_parameters(bundle.model.config).total,
            measure_divergence(bundle.model, self.opened.model, self.batches),
        )
        self.say(f"{name}: {figure.divergence.mean_nats:.5f} nats a token at {stored.bits_per_weight_projections:.2f}")
        return figure

    def rows(self) -> UserRows:
        """The calibration text, to train adapters on."""
        length = self.opened.model.config.context_length_tokens
        length = min(self.config.calibration.row_length_tokens, length)
        return read_user_rows([self.calibration], [], self.opened.tokenizer, length, self.config.seed)

    def recovery(self, times: int = 1, **changes: object) -> RecoverConfig:
        """How adapters are trained: for the usual steps, or so many times as many."""
        rows = self.rows()
        num_steps = times * self.config.recovery_steps
        schedule = ScheduleConfig(
            peak_rate=self.config.recovery_rate, warmup_steps=max(1, num_steps // 10), final_fraction=0.05
        )
        config = RecoverConfig(
            loop=LoopConfig(
                num_steps=num_steps,
                batch_size_rows=self.config.recovery_batch_rows,
                optimizer=OptimizerConfig(schedule=schedule, rule=AdamWConfig()),
            ),
            sequence_length_tokens=next(iter(rows.train.values())).row_length_tokens,
            mixture=rows.mixture,
            rank=RANKS[1],
        )
        return replace(config, **changes)  # type: ignore[arg-type]

    def ingredients(self) -> Iterator[CompressFigure]:
        """Each part switched off, or added, at STUDIED_BITS; and how far recovery goes at USUAL_BITS."""
        full = CompressConfig(target_bits_per_weight=STUDIED_BITS)
        name = f"codling {STUDIED_BITS:g}"
        yield self.nearest(f"{name}, nearest entries of k-means", self.compressed(name, full))
        for change, config in (
            ("no row scales", replace(full, row_scales=False)),
            ("outputs alike", replace(full, weighs_outputs=False)),
            ("no coordinate descent", replace(full, num_descents=0)),
            ("tables of k-means, not refitted", replace(full, num_sweeps=1)),
            ("widths by the estimate", replace(full, sensitivity=SensitivityMethod.ESTIMATED)),
            ("widths by measurement", replace(full, sensitivity=SensitivityMethod.MEASURED)),
            ("rotated values", replace(full, rotate_values=True)),
        ):
            if config != full:
                yield self.ours(f"{name}, {change}", config)
        small = self.compressed(name, full)
        for change, recovery in (
            ("from zero", self.recovery(start=RecoveryStart.ZERO)),
            ("from the plain decomposition", self.recovery(start=RecoveryStart.PLAIN)),
            ("tables fixed", self.recovery(trains_tables=False)),
            ("hidden state, too", self.recovery(hidden_weight=1.0)),
            *((f"rank {rank}", self.recovery(rank=rank)) for rank in RANKS[::2]),
        ):
            yield self.recovered(f"{name} + recovery, {change}", small, recovery)
        name = f"codling {USUAL_BITS:g}"
        small = self.compressed(name, CompressConfig(target_bits_per_weight=USUAL_BITS))
        for rank in RANKS[1:]:
            change = f"rank {rank}, {LONG_TRAINING} times the steps"
            yield self.recovered(f"{name} + recovery, {change}", small, self.recovery(LONG_TRAINING, rank=rank))

    def nearest(self, name: str, directory: Path) -> CompressFigure:
        """The same widths without feedback: each weight gets the nearest entry of its table."""
        dense = model_tensors(self.opened.model)
        tensors, num_bits, num_weights = dict(dense), 0.0, 0
        for key, matrix in load_compressed(directory).items():
            if isinstance(matrix, PalettizedMatrix):
                small = palettize(dense[key], matrix.bits, matrix.rows_per_table, name=key)
                tensors[key] = small.dequantize()
                num_bits += small.bits_per_weight().total * dense[key].size
                num_weights += dense[key].size
            else:
                tensors[key] = matrix.dequantize()
        model = model_from_tensors(self.opened.model.config, tensors, source=name)
        total = stored_bits(directory).bits_per_weight_total
        return CompressFigure(
            name, num_bits / num_weights, total, 0.0, measure_divergence(model, self.opened.model, self.batches)
        )


def _heldout(bundle: Bundle, documents: Sequence[str], max_tokens: int) -> list[Batch]:
    """Rows of all the text, as many as are asked for, drawn from all over it."""
    tokenizer = bundle.tokenizer
    tokens = tokenize_documents(documents, lambda text: [*tokenizer.begin_ids, *tokenizer.encode(text)])
    length = bundle.model.config.context_length_tokens
    rows = PackedRows(tokens, row_length_tokens=length, seed=0, split_documents=True)
    return list(islice(iterate_once(rows, BATCH_ROWS), max(1, max_tokens // (length * BATCH_ROWS))))


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in name)
