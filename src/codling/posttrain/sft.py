"""Supervised fine-tuning (arXiv 2407.21075 section 4.1): loss on the assistant's tokens, at a constant rate.

Conversations are packed whole into rows, as documents that do not see each other. A share of pre-training text stays in
the mixture, so that the model does not forget how to go on with plain text.
"""

from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import load_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.mixture import MixtureWeights
from codling.errors import UserError
from codling.pretrain.text_stage import TextStageConfig, train_on_text
from codling.train.loop import LoopConfig
from codling.train.seed import seed_from


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
    text = TextStageConfig(
        loop=config.loop,
        sequence_length_tokens=config.sequence_length_tokens,
        mixture=config.mixture,
        data_seed=seed_from(key),
        heldout_rows_per_kind=config.heldout_rows_per_kind,
    )
    return train_on_text(text, model, inputs, out, key, with_skills=True)
