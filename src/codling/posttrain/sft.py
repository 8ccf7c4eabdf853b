"""Supervised fine-tuning (arXiv 2407.21075 section 4.1): loss on the assistant's tokens, at a constant rate.

Conversations are packed whole into rows, as documents that do not see each other. A share of pre-training text stays in
the mixture, so that the model does not forget how to go on with plain text.
"""

from functools import partial
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import load_model, save_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import build_loader
from codling.data.mixture import MixtureWeights
from codling.data.prepare import open_corpus
from codling.errors import UserError
from codling.evaluate.heldout import heldout_figures
from codling.pretrain.text_stage import next_token_loss
from codling.train.loop import LoopConfig, rows_of_process, train
from codling.train.seed import seed_from
from codling.train.sharding import gather
from codling.train.spike import skip_figures


@config
class SftConfig:
    """The mixture of skills and text, and the training on it."""

    loop: LoopConfig
    sequence_length_tokens: int
    """Length of a row; no conversation may be longer."""
    mixture: MixtureWeights
    """Share of the rows by skill, and by kind of pre-training text."""
    heldout_rows_per_kind: int = 24
    """Rows that the held-out loss is measured on."""


def run_sft(config: SftConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Fine-tune a model. Inputs: model, tokens."""
    model = load_model(inputs["model"].path)
    if config.sequence_length_tokens > model.config.context_length_tokens:
        raise UserError(
            f"{out.name}: sequence_length_tokens is {config.sequence_length_tokens}, beyond the model's context of "
            f"{model.config.context_length_tokens} tokens"
        )
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
    before = measure(model)
    part = rows_of_process(config.loop, model.config, length)
    with build_loader(rows, config.mixture, batch_size_rows=config.loop.batch_size_rows, part=part) as loader:
        for record in train(config.loop, next_token_loss, model, None, loader, out, key):
            model = record.params
    model = gather(model)
    save_model(out.path, model, tokenizer_sha256=corpus.tokenizer.sha256)
    num_tokens = config.loop.num_steps * config.loop.batch_size_rows * length
    figures = {"num_tokens": num_tokens, "heldout_before": before, "heldout_after": measure(model)}
    return figures | skip_figures(record.skips)
