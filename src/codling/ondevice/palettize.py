"""Palettization of a whole model (arXiv 2407.21075 section 5.1): projections to tables, the embedding to int8."""

from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.hf import EMBEDDING_NAME, model_tensors
from codling.artifact.model_files import load_model, save_compressed_model, tokenizer_of
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.compress.embedding_quant import quantize_embedding
from codling.compress.palettize import palettize
from codling.compress.tensors import Compressed, to_tensors
from codling.config import config
from codling.model.transformer import Transformer


@config
class PalettizeConfig:
    """How finely each projection is kept."""

    width_bits: int = 4
    """Bits of an index (arXiv 2407.21075 section 5.1): 4 gives 16 table entries, 2 gives 4."""
    rows_per_table: int = 16
    """Rows that share one table."""


def run_palettize(config: PalettizeConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Compress a model's matrices. Inputs: model."""
    directory = inputs["model"].path
    model = load_model(directory)
    compressed = compress_model(model, config, out)
    save_compressed_model(out.path, model, compressed, tokenizer_sha256=tokenizer_of(directory))
    return bits_per_weight(model, compressed)


def compress_model(model: Transformer, config: PalettizeConfig, out: Workspace) -> dict[str, Compressed]:
    """Every projection and the embedding, by tensor name; norm scales stay as they are."""
    matrices = {name: tensor for name, tensor in model_tensors(model).items() if tensor.ndim == 2}
    compressed: dict[str, Compressed] = {}
    with out.progress(len(matrices)) as progress:
        for done, (name, matrix) in enumerate(matrices.items(), start=1):
            if name == EMBEDDING_NAME:
                compressed[name] = quantize_embedding(matrix, name=name)
            else:
                compressed[name] = palettize(matrix, config.width_bits, config.rows_per_table, name=name)
            progress.update(done)
    return compressed


def bits_per_weight(model: Transformer, compressed: dict[str, Compressed]) -> dict[str, float]:
    """Stored bits a weight: of the projections alone, and of everything (embedding, tables, scales, norms)."""
    tensors = model_tensors(model)
    stored = {name: 8 * tensor.nbytes for name, tensor in tensors.items()}
    for name, matrix in compressed.items():
        stored[name] = 8 * sum(part.nbytes for part in to_tensors(name, matrix).values())
    sizes = {name: tensor.size for name, tensor in tensors.items()}
    projections = [name for name in compressed if name != EMBEDDING_NAME]
    projection_size = sum(sizes[name] for name in projections)
    return {
        "bits_per_weight_projections": sum(stored[name] for name in projections) / projection_size,
        "bits_per_weight_total": sum(stored.values()) / sum(sizes.values()),
        "size_bytes": sum(stored.values()) / 8,
    }
