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
from codling.evaluate.retrieval import RetrievalConfig, retrieval_figures
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
    retrieval: RetrievalConfig
    """At which lengths and depths facts are asked for."""
    measured_rows: int = 16
    """Rows of that kind."""


def run_long_context(config: LongContextConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train on with longer rows. Inputs: tokens, model. Measures loss by position and retrieval, before and after."""
    model = load_model(inputs["model"].path)
    length = config.text.sequence_length_tokens
    if length <= model.config.context_length_tokens:
        raise UserError(
            f"{out.name}: text.sequence_length_tokens is {length}; it must exceed the model's context of "
            f"{model.config.context_length_tokens} tokens"
        )
    if (longest := max(config.retrieval.lengths_tokens)) > length:
        raise UserError(
            f"{out.name}: retrieval.lengths_tokens goes up to {longest}; it must not exceed "
            f"text.sequence_length_tokens, {length}"
        )
    corpus = open_corpus(inputs["tokens"].path)
    old_length = model.config.context_length_tokens
    before = _measure(config, model, corpus, old_length)
    model = replace(model, config=replace(model.config, context_length_tokens=length, rope_theta=config.rope_theta))
    metrics = train_on_text(config.text, model, inputs, out, key)
    after = _measure(config, load_model(out.path), corpus, old_length)
    return (
        metrics
        | {f"{name}_before": value for name, value in before.items()}
        | {f"{name}_after": value for name, value in after.items()}
    )


def _measure(config: LongContextConfig, model: Transformer, corpus: Corpus, old_length: int) -> dict[str, Any]:
    return {
        "nll_by_position": _by_position(config, model, corpus, old_length),
        "retrieval": retrieval_figures(model, corpus, config.retrieval),
    }


def _by_position(config: LongContextConfig, model: Transformer, corpus: Corpus, old_length: int) -> dict[str, float]:
    length = config.text.sequence_length_tokens
    rows = corpus.heldout_rows(config.measured_kind, row_length_tokens=length)
    bounds = tuple(range(0, length + 1, max(1, old_length // 2)))
    return nll_by_position(model, first_rows(rows, config.measured_rows, HELDOUT_BATCH_ROWS), bounds)
