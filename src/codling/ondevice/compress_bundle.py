"""A dense bundle becomes a palettized one, calibrated by a text: what `codling compress` does."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from codling.artifact.block_files import BlockFiles
from codling.artifact.bundle import is_palettized, load_tokenizer, write_tokenizer_files
from codling.artifact.hf import EMBEDDING_NAME, WEIGHTS_FILE
from codling.artifact.model_files import save_compressed_files
from codling.artifact.outputs import new_directory, run_stage_into
from codling.artifact.stage import Artifact, Inputs, Stage, load_artifact
from codling.artifact.tensor_files import StoredTensors
from codling.artifact.workspace import Reporter, Workspace
from codling.compress.embedding_quant import quantize_embedding
from codling.compress.tensors import Compressed as CompressedMatrix
from codling.compress.tensors import to_tensors
from codling.config import config
from codling.data.loader import Batch, iterate_once
from codling.data.pack import PackedRows
from codling.data.tokens import tokenize_documents
from codling.errors import UserError
from codling.model.count import count_parameters
from codling.ondevice.compress_blocks import (
    CompressConfig,
    Compressed,
    check_bits,
    check_text,
    compress_blocks,
)
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
    """Write the compressed bundle to `out`.

    Errors: `UserError` for what is no dense bundle, and as for `compress_blocks` and `new_directory`; then nothing is
    written.
    """
    bundle = load_artifact(directory, "bundle")
    if is_palettized(directory):
        raise UserError(f"{directory}: is compressed already; compress the bundle that it was made from")
    tokenizer = load_tokenizer(directory, bundle.manifest)
    model = BlockFiles(directory)
    batches = calibration_batches(documents, tokenizer, calibration, model.config.context_length_tokens)
    check_text(batches)
    specs = StoredTensors([directory / WEIGHTS_FILE]).specs
    shapes = {name: spec.shape for name, spec in specs.items() if name != EMBEDDING_NAME}
    check_bits({name: (shape[0], shape[1]) for name, shape in shapes.items() if len(shape) == 2}, config)
    text_sha256 = hashlib.sha256("\0".join(documents).encode()).hexdigest()
    whole = CompressBundleConfig(compress=config, calibration=calibration, text_sha256=text_sha256)
    with new_directory(out) as partial_out:
        run = partial(_run, model, batches, tokenizer)
        stage = Stage("compress", "bundle", 2, whole, {"bundle": "bundle"}, run)
        manifest = run_stage_into(partial_out, stage, {"bundle": bundle}, seed, reporter)
    return Artifact(out, manifest)


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
    model: BlockFiles,
    batches: Sequence[Batch],
    tokenizer: TextTokenizer,
    config: CompressBundleConfig,
    inputs: Inputs,
    out: Workspace,
    key: PRNGKeyArray,
) -> dict[str, Any]:
    source = inputs["bundle"].path
    with out.progress(config.compress.num_passes * model.config.num_layers) as progress:
        found = compress_blocks(model, batches, config.compress, key, progress.update)
    matrices: dict[str, CompressedMatrix] = dict(found.matrices)
    matrices[EMBEDDING_NAME] = quantize_embedding(np.asarray(model.embedding), name=EMBEDDING_NAME)
    save_compressed_files(out.path, source, matrices)
    write_tokenizer_files(out.path, tokenizer)
    stored = StoredTensors([source / WEIGHTS_FILE])
    return compression_figures(found, matrices, stored) | {
        "num_parameters": count_parameters(model.config).total,
        "num_parameters_embedding": count_parameters(model.config).embedding,
        "num_calibration_tokens": sum(int((batch.segment_ids > 0).sum()) for batch in batches),
    }


def compression_figures(
    found: Compressed, matrices: Mapping[str, CompressedMatrix], dense: StoredTensors
) -> dict[str, Any]:
    """Stored bits a weight, of the projections alone and of everything, and what each matrix got."""
    sizes = {name: spec.size for name, spec in dense.specs.items() if name in matrices}
    bits = {
        name: 8 * sum(part.nbytes for part in to_tensors(name, matrix).values()) for name, matrix in matrices.items()
    }
    others = {name: 32 * spec.size for name, spec in dense.specs.items() if name not in matrices}
    num_others = sum(spec.size for name, spec in dense.specs.items() if name not in matrices)
    projections = list(found.matrices)
    return {
        "bits_per_weight_projections": sum(bits[name] for name in projections)
        / sum(sizes[name] for name in projections),
        "bits_per_weight_total": (sum(bits.values()) + sum(others.values())) / (sum(sizes.values()) + num_others),
        "size_bytes": (sum(bits.values()) + sum(others.values())) / 8,
        "predicted_nats_per_token": sum(
            found.sensitivities[name][matrix.bits].nats_per_token for name, matrix in found.matrices.items()
        ),
        "matrices": {
            name: {
                "width_bits": matrix.bits,
                "stored_bits_per_weight": bits[name] / sizes[name],
                "nats_per_token": {str(width): one.nats_per_token for width, one in found.sensitivities[name].items()},
            }
            for name, matrix in found.matrices.items()
        },
    }
