"""The recipe's compression stage: the finished device model, for text and conversations like what it was trained on."""

from itertools import islice
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import build_loader
from codling.data.mixture import MixtureWeights
from codling.data.prepare import open_corpus
from codling.ondevice.compress_blocks import CompressConfig
from codling.ondevice.compress_files import compress_files
from codling.train.seed import seed_from


@config
class CompressStageConfig:
    """How small, and what the model is calibrated by."""

    compress: CompressConfig
    mixture: MixtureWeights
    """Share of the rows by skill and by kind of pre-training text."""
    sequence_length_tokens: int
    """Length of a row."""
    num_batches: int = 16
    batch_size_rows: int = 8


def run_compress(config: CompressStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Compress a model's matrices. Inputs: model, tokens."""
    corpus = open_corpus(inputs["tokens"].path)
    length = config.sequence_length_tokens
    rows = corpus.training_rows(config.mixture, row_length_tokens=length, seed=seed_from(key))
    with build_loader(rows, config.mixture, batch_size_rows=config.batch_size_rows) as loader:
        batches = list(islice(loader, config.num_batches))
    return compress_files(inputs["model"].path, batches, config.compress, out, key)
