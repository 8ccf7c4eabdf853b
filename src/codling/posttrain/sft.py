"""Supervised fine-tuning (arXiv 2407.21075 section 4.1): loss on the assistant's tokens, at a constant rate.

Conversations are packed whole into rows, as documents that do not see each other. A share of pre-training text stays in
the mixture, so that the model does not forget how to go on with plain text. Near-duplicates may be taken out before;
`mixture_search` tunes the shares.
"""

from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import load_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.mixture import MixtureWeights
from codling.data.prepare import open_corpus
from codling.errors import UserError
from codling.posttrain.near_duplicates import NearDuplicateConfig, remove_near_duplicates
from codling.pretrain.text_stage import TextStageConfig, loss_with_dropout, train_on_text
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
    dropout: float = 0.1
    """Share of each residual update that is dropped in training (arXiv 2407.21075 section 4.1)."""
    near_duplicates: NearDuplicateConfig | None = None
    """When a conversation is too much like an earlier one of its skill to train on; none: all are trained on. Ours."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, it must be at least 0 and below 1")


def run_sft(config: SftConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Fine-tune a model. Inputs: model, tokens. The metrics say how many near-duplicates were removed, by skill."""
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
    corpus = open_corpus(inputs["tokens"].path)
    config.mixture.check_kinds(corpus.train)
    figures: dict[str, Any] = {}
    if config.near_duplicates is not None:
        # Of text every token is learned; what has a mask is conversations.
        skills = [kind for kind in sorted(config.mixture.share_by_kind) if corpus.train[kind].loss_mask is not None]
        corpus, removed = remove_near_duplicates(config.near_duplicates, corpus, skills, model)
        figures = {"num_near_duplicates_by_skill": removed}
    loss_fn = loss_with_dropout(config.dropout)
    metrics = train_on_text(text, model, inputs, out, key, loss_fn=loss_fn, with_skills=True, corpus=corpus)
    return metrics | figures
