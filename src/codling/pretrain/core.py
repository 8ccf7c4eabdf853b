"""Core pre-training (arXiv 2407.21075 section 2.2.1): a model from random weights, on the broad mixture."""

from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.prepare import open_corpus
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.pretrain.text_stage import TextStageConfig, train_on_text


@config
class CoreConfig:
    """A model's shape, and its core training."""

    model: ModelConfig
    text: TextStageConfig


def run_core(config: CoreConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train from random weights. Inputs: tokens."""
    vocab_size = open_corpus(inputs["tokens"].path).tokenizer.vocab_size
    if config.model.vocab_size != vocab_size:
        raise UserError(
            f"{out.name}: model.vocab_size is {config.model.vocab_size}, the tokenizer has {vocab_size} tokens; "
            "make them equal"
        )
    init_key, train_key = jax.random.split(key)
    return train_on_text(config.text, init_transformer(config.model, init_key), inputs, out, train_key)
