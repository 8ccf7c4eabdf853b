"""A dense model's files become a compressed model's, a block at a time; what it cost becomes figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from codling.artifact.block_files import BlockFiles
from codling.artifact.hf import EMBEDDING_NAME, WEIGHTS_FILE
from codling.artifact.model_files import save_compressed_files
from codling.artifact.tensor_files import StoredTensors
from codling.artifact.workspace import Workspace
from codling.compress.embedding_quant import quantize_embedding
from codling.compress.tensors import Compressed as CompressedMatrix
from codling.compress.tensors import to_tensors
from codling.data.loader import Batch
from codling.model.count import count_parameters
from codling.ondevice.compress_blocks import CompressConfig, Compressed, compress_blocks


def compress_files(
    source: Path, batches: Sequence[Batch], config: CompressConfig, out: Workspace, key: PRNGKeyArray
) -> dict[str, Any]:
    """Write the model in `source` compressed into the workspace; stopped, the same call goes on where it was.

    Errors: `UserError` as for `compress_blocks`.
    """
    model = BlockFiles(source)
    with out.progress(config.num_passes * model.config.num_layers) as progress:
        found = compress_blocks(model, batches, config, key, progress.update, out.checkpoints_path)
    matrices: dict[str, CompressedMatrix] = dict(found.matrices)
    matrices[EMBEDDING_NAME] = quantize_embedding(np.asarray(found.dense.embedding), name=EMBEDDING_NAME)
    save_compressed_files(out.path, source, matrices, found.dense.changed_vectors())
    count = count_parameters(model.config)
    return compression_figures(found, matrices, StoredTensors([source / WEIGHTS_FILE])) | {
        "num_parameters": count.total,
        "num_parameters_embedding": count.embedding,
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
