"""Context-lengthening (arXiv 2407.21075 section 2.2.4): longer rows and a raised RoPE base."""

from dataclasses import replace
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import load_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.prepare import Corpus, open_corpus
from codling.errors import UserError
from codling.evaluate.heldout import HELDOUT_BATCH_ROWS
from codling.evaluate.score import first_rows, nll_by_position
from codling.model.transformer import Transformer
from codling.pretrain.text_stage import TextStageConfig, train_on_text


@config
class LongContextConfig:
    """The longer rows, and the base that makes their positions tellable apart."""

    text: TextStageConfig
    rope_theta: float
    """New RoPE base (AXLearn: 500,000 to 6,315,089 for eight times the length)."""
    measured_kind: str
    """Kind of text whose held-out documents are long enough to measure every position."""
    measured_rows: int = 16
    """Rows of that kind."""


def run_long_context(config: LongContextConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train on with longer rows. Inputs: tokens, model. Measures the loss by position before and after."""
    model = load_model(inputs["model"].path)
    length = config.text.sequence_length_tokens
    if length <= model.config.context_length_tokens:
        raise UserError(
            f"{out.name}: text.sequence_length_tokens is {length}; it must exceed the model's context of "
            f"{model.config.context_length_tokens} tokens"
        )
    corpus = open_corpus(inputs["tokens"].path)
    old_length = model.config.context_length_tokens
    before = _by_position(config, model, corpus, old_length)
    model = replace(model, config=replace(model.config, context_length_tokens=length, rope_theta=config.rope_theta))
    metrics = train_on_text(config.text, model, inputs, out, key)
    after = _by_position(config, load_model(out.path), corpus, old_length)
    return metrics | {"nll_by_position_before": before, "nll_by_position_after": after}


def _by_position(config: LongContextConfig, model: Transformer, corpus: Corpus, old_length: int) -> dict[str, float]:
    length = config.text.sequence_length_tokens
    rows = corpus.heldout_rows(config.measured_kind, row_length_tokens=length)
    bounds = tuple(range(0, length + 1, max(1, old_length // 2)))
    return nll_by_position(model, first_rows(rows, config.measured_rows, HELDOUT_BATCH_ROWS), bounds)
