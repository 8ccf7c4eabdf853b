"""A dense bundle becomes a palettized one, calibrated by a text: what `codling compress` does."""

import hashlib
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.block_files import BlockFiles
from codling.artifact.bundle import is_palettized, load_tokenizer, write_tokenizer_files
from codling.artifact.hf import EMBEDDING_NAME, WEIGHTS_FILE
from codling.artifact.outputs import check_out, run_stage_as
from codling.artifact.stage import Artifact, Inputs, Stage, load_artifact
from codling.artifact.tensor_files import StoredTensors
from codling.artifact.workspace import Reporter, Workspace
from codling.config import config
from codling.data.loader import Batch, iterate_once
from codling.data.pack import PackedRows
from codling.data.tokens import tokenize_documents
from codling.errors import UserError
from codling.ondevice.compress_blocks import CompressConfig, check_bits, check_text, rotated
from codling.ondevice.compress_files import compress_files
from codling.tokenizer.imported import TextTokenizer

BATCH_SIZE_ROWS = 8


@config
class CalibrationConfig:
    """How much of a text is read."""

    max_tokens: int = 32_768
    """Longer texts are cut: rows are drawn from all over them."""
    row_length_tokens: int = 512
    """Or the model's context where that is shorter."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.row_length_tokens < 1:
            raise ValueError("max_tokens and row_length_tokens must be at least 1")


@config
class CompressBundleConfig:
    """Everything that the result depends on, beside the bundle."""

    compress: CompressConfig
    calibration: CalibrationConfig
    text_sha256: str
    """Of the calibration text."""


def compress_bundle(
    directory: Path,
    documents: Sequence[str],
    out: Path,
    config: CompressConfig,
    calibration: CalibrationConfig,
    seed: int,
    reporter: Reporter,
) -> Artifact:
    """Write the compressed bundle to `out`; interrupted, the same call goes on where it was.

    Errors: `UserError` for what is no dense bundle, and as for `compress_blocks` and `check_out`; then nothing is
    written.
    """
    check_out(out)
    bundle = load_artifact(directory, "bundle")
    if is_palettized(directory):
        raise UserError(f"{directory}: is compressed already; compress the bundle that it was made from")
    tokenizer = load_tokenizer(directory, bundle.manifest)
    model = BlockFiles(directory)
    batches = calibration_batches(documents, tokenizer, calibration, model.config.context_length_tokens)
    check_text(batches)
    rotated(model, config)  # refuses what it cannot rotate, before anything is written
    specs = StoredTensors([directory / WEIGHTS_FILE]).specs
    shapes = {name: spec.shape for name, spec in specs.items() if name != EMBEDDING_NAME}
    check_bits({name: (shape[0], shape[1]) for name, shape in shapes.items() if len(shape) == 2}, config)
    text_sha256 = hashlib.sha256("\0".join(documents).encode()).hexdigest()
    whole = CompressBundleConfig(compress=config, calibration=calibration, text_sha256=text_sha256)
    stage = Stage("compress", "bundle", 2, whole, {"bundle": "bundle"}, partial(_run, batches, tokenizer))
    return run_stage_as(out, stage, {"bundle": bundle}, seed, reporter)


def calibration_batches(
    documents: Sequence[str], tokenizer: TextTokenizer, config: CalibrationConfig, context_length_tokens: int
) -> list[Batch]:
    """Rows of a text, drawn from all over it."""
    tokens = tokenize_documents(documents, lambda text: [*tokenizer.begin_ids, *tokenizer.encode(text)])
    length = min(config.row_length_tokens, context_length_tokens)
    rows = PackedRows(tokens, row_length_tokens=length, seed=0, split_documents=True)
    num_batches = max(1, config.max_tokens // (length * BATCH_SIZE_ROWS))
    return list(islice(iterate_once(rows, min(BATCH_SIZE_ROWS, rows.rows_per_epoch)), num_batches))


def _run(
    batches: Sequence[Batch],
    tokenizer: TextTokenizer,
    config: CompressBundleConfig,
    inputs: Inputs,
    out: Workspace,
    key: PRNGKeyArray,
) -> dict[str, Any]:
    figures = compress_files(inputs["bundle"].path, batches, config.compress, out, key)
    write_tokenizer_files(out.path, tokenizer)
    return figures
