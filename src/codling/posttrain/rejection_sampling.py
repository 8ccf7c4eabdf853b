"""Rejection-sampling fine-tuning (RS): supervised training on the best of many sampled answers.

    L = - sum over the tokens of y* of log pi(y*_t | x, y*_<t),    y* = argmax over sampled y of R(x, y)

The loss is that of SFT, per token and averaged over tokens; what differs is who wrote the answers. In the report's
committee distillation these are all its members (arXiv 2407.21075 section 4.2.2). Ours: a share of the mixture stays
with SFT's demonstrations and plain text, so that what the prompts do not ask for is not forgotten.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.mixture import MixtureWeights
from codling.data.prepare import open_corpus
from codling.data.tokens import TokenizedDocuments, join_documents
from codling.errors import UserError
from codling.model.transformer import Transformer
from codling.posttrain.demonstrations import Demonstration
from codling.pretrain.text_stage import TextStageConfig, train_on_text
from codling.tokenizer.chat_template import encode_chat
from codling.tokenizer.encode import Tokenizer
from codling.train.loop import LoopConfig
from codling.train.seed import seed_from

BEST_ANSWERS = "best_answers"
"""What the mixture calls them."""


@config
class RejectionSamplingConfig:
    """The mixture of best answers, demonstrations and text, and the training on it."""

    loop: LoopConfig
    sequence_length_tokens: int
    """Length of a row; longer conversations are left out, and counted."""
    mixture: MixtureWeights
    """Share of the rows: `best_answers`, skills, kinds of text."""
    heldout_rows_per_kind: int = 24
    """Rows that the held-out loss is measured on."""

    def __post_init__(self) -> None:
        if BEST_ANSWERS not in self.mixture.share_by_kind:
            raise ValueError(f"the mixture has no share of '{BEST_ANSWERS}', which is what this stage is for")


def train_on_best_answers(
    config: RejectionSamplingConfig,
    model: Transformer,
    demonstrations: Sequence[Demonstration],
    inputs: Inputs,
    out: Workspace,
    key: PRNGKeyArray,
) -> dict[str, Any]:
    """Train on the answers and save the model. Inputs: tokens. Errors: `UserError` where no conversation fits a row."""
    corpus = open_corpus(inputs["tokens"].path)
    documents, num_too_long = _spell(demonstrations, corpus.tokenizer, config.sequence_length_tokens)
    if not num_too_long < len(demonstrations):
        raise UserError(f"{out.name}: none of {num_too_long} conversations fits {config.sequence_length_tokens} tokens")
    text = TextStageConfig(
        loop=config.loop,
        sequence_length_tokens=config.sequence_length_tokens,
        mixture=config.mixture,
        data_seed=seed_from(key),
        heldout_rows_per_kind=config.heldout_rows_per_kind,
    )
    with_answers = corpus._replace(train=corpus.train | {BEST_ANSWERS: documents})
    figures = train_on_text(text, model, inputs, out, key, with_skills=True, corpus=with_answers)
    return figures | {"num_demonstrations": len(demonstrations), "num_too_long": num_too_long}


def _spell(
    demonstrations: Sequence[Demonstration], tokenizer: Tokenizer, max_length_tokens: int
) -> tuple[TokenizedDocuments, int]:
    """Only the last answer is learned from: what the assistant said before was the prompt's."""
    ids, masks, num_too_long = [], [], 0
    for demonstration in demonstrations:
        tools = demonstration.tools or None
        chat = encode_chat(tokenizer, demonstration.messages, tools).ids
        prompt = encode_chat(tokenizer, demonstration.messages[:-1], tools, add_generation_prompt=True).ids
        if len(chat) > max_length_tokens:
            num_too_long += 1
            continue
        ids.append(chat)
        masks.append([False] * len(prompt) + [True] * (len(chat) - len(prompt)))
    return join_documents(ids, masks), num_too_long
