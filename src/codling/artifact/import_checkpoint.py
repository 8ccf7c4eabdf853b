"""A checkpoint becomes a bundle: the weights in the type that they came in, a tensor at a time, and the tokenizer."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from codling.artifact.bundle import write_tokenizer_files
from codling.artifact.checkpoint import FLOAT_TYPES, Checkpoint, open_checkpoint
from codling.artifact.hf import EMBEDDING_NAME, HEAD_NAME, WEIGHTS_FILE
from codling.artifact.manifest import file_sha256
from codling.artifact.model_files import write_config
from codling.artifact.outputs import check_out, run_stage_as
from codling.artifact.stage import Artifact, Inputs, Stage
from codling.artifact.tensor_files import stream_tensors
from codling.artifact.workspace import SilentReporter, Workspace
from codling.config import config
from codling.errors import UserError
from codling.model.count import count_parameters

VERSION = 1
ROWS_PER_BLOCK = 4096
"""What is looked at at once: results of a whole embedding would take as much memory as it does."""


@config
class ImportConfig:
    """What a bundle was made from."""

    files_sha256: dict[str, str]
    """Of each file of the checkpoint, by name."""


def import_checkpoint(directory: Path, out: Path) -> Artifact:
    """Make a bundle in `out` of the checkpoint in `directory`.

    Errors: `UserError` as for `open_checkpoint` and `check_out`, for a value that is not finite, and for an output
    embedding of its own; then nothing is written.
    Price: each file is read twice, to be hashed and to be copied; no more than two tensors are ever in memory.
    """
    checkpoint = open_checkpoint(directory)
    check_out(out)
    origin = ImportConfig(files_sha256={path.name: file_sha256(path) for path in checkpoint.files})
    stage = Stage("import", "bundle", VERSION, origin, {}, partial(_run, checkpoint, str(directory)))
    return run_stage_as(out, stage, {}, 0, SilentReporter())


def _run(
    checkpoint: Checkpoint, source: str, config: ImportConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray
) -> dict[str, Any]:
    tensors, specs = checkpoint.tensors, checkpoint.tensors.specs
    if specs.pop(HEAD_NAME, None) is not None:
        _check_tied(tensors[EMBEDDING_NAME], tensors[HEAD_NAME], source)
    write_config(
        out.path,
        checkpoint.config,
        tokenizer_sha256=checkpoint.tokenizer.sha256,
        special_ids=checkpoint.special_ids,
        dtype=FLOAT_TYPES[specs[EMBEDDING_NAME].dtype],
    )

    def read(name: str) -> np.ndarray:
        tensor = tensors[name]
        num_finite = sum(int(np.isfinite(tensor[rows]).sum()) for rows in _row_blocks(tensor))
        if num_bad := tensor.size - num_finite:
            num_nan = sum(int(np.isnan(tensor[rows]).sum()) for rows in _row_blocks(tensor))
            raise UserError(f"{source}: tensor '{name}' has {num_bad} values that are not finite ({num_nan} NaN)")
        return tensor

    stream_tensors(out.path / WEIGHTS_FILE, specs, read, {})
    write_tokenizer_files(out.path, checkpoint.tokenizer)
    count = count_parameters(checkpoint.config)
    projections = [spec for name, spec in specs.items() if len(spec.shape) == 2 and name != EMBEDDING_NAME]
    size_bytes = sum(spec.size_bytes for spec in specs.values())
    return {
        "num_parameters": count.total,
        "num_parameters_embedding": count.embedding,
        "bits_per_weight_projections": 8 * sum(p.size_bytes for p in projections) / sum(p.size for p in projections),
        "bits_per_weight_total": 8 * size_bytes / count.total,
        "size_bytes": size_bytes,
    }


def _check_tied(embedding: np.ndarray, head: np.ndarray, source: str) -> None:
    """Some writers repeat the tied matrix; one that differs would be dropped silently."""
    is_same = embedding.shape == head.shape
    if not is_same or not all(np.array_equal(embedding[rows], head[rows]) for rows in _row_blocks(embedding)):
        raise UserError(f"{source}: untied, as '{HEAD_NAME}' is another matrix than '{EMBEDDING_NAME}'")


def _row_blocks(tensor: np.ndarray) -> Iterator[slice]:
    return (slice(start, start + ROWS_PER_BLOCK) for start in range(0, len(tensor), ROWS_PER_BLOCK))
