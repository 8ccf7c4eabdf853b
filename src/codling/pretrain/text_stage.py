"""What all pre-training stages share: mixed rows in, a model out, measured on held-out text before and after."""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from jaxtyping import PRNGKeyArray, PyTree

from codling.artifact.model_files import save_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import Batch, BatchLoader, build_loader
from codling.data.mixture import MixtureWeights
from codling.data.prepare import Corpus, open_corpus
from codling.evaluate.heldout import heldout_figures
from codling.model.dropout import Dropout
from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.train.course import Loader
from codling.train.loop import LoopConfig, rows_of_process, train
from codling.train.loss import LossSums
from codling.train.objective import next_token
from codling.train.sharding import gather
from codling.train.spike import skip_figures
from codling.train.step import LossFunction


@config
class TextStageConfig:
    """What a pre-training stage reads, and for how long."""

    loop: LoopConfig
    sequence_length_tokens: int
    """Length of a row; documents are packed into rows and never attend across each other."""
    mixture: MixtureWeights
    """Share of the tokens by kind of text."""
    data_seed: int
    """Order of the documents: stages of the same seed, mixture and length read the same tokens in the same order."""
    heldout_rows_per_kind: int = 24
    """Rows of each kind that the held-out loss is measured on, before and after."""
    answer_weight: float = 1.0
    """What a token of an answer to a question about a text weighs against a token of plain text. Ours."""

    def __post_init__(self) -> None:
        if not 0 < self.answer_weight < math.inf:
            raise ValueError(f"answer_weight is {self.answer_weight}, it must be positive")

    @property
    def num_tokens(self) -> int:
        """Tokens that the stage trains on."""
        return self.loop.num_steps * self.loop.batch_size_rows * self.sequence_length_tokens


def next_token_loss(
    model: Transformer, frozen: PyTree, batch: Batch, key: PRNGKeyArray, execution: Execution
) -> LossSums:
    """The plain objective: every parameter trains, nothing is frozen."""
    return next_token(model, batch, execution)


@lru_cache
def loss_with_dropout(rate: float) -> LossFunction[Transformer]:
    """The plain objective under dropout: for equal rates the same object, so that stages share one compiled step.

    At rate 0 it is `next_token_loss` itself.
    """
    if rate == 0:
        return next_token_loss

    def of_batch(model: Transformer, frozen: PyTree, batch: Batch, key: PRNGKeyArray, execution: Execution) -> LossSums:
        return next_token(model, batch, execution, Dropout(key, rate))

    return of_batch


def train_on_text(
    config: TextStageConfig,
    model: Transformer,
    inputs: Inputs,
    out: Workspace,
    key: PRNGKeyArray,
    *,
    loss_fn: Any = next_token_loss,
    frozen: PyTree = None,
    with_targets: Callable[[BatchLoader], Loader] = lambda loader: loader,
    with_skills: bool = False,
    corpus: Corpus | None = None,
) -> dict[str, Any]:
    """Train `model` on the tokens artifact among the inputs, save it, and return the stage's headline figures.

    `with_targets` may add to what the loader yields; `with_skills` measures the held-out conversations too; `corpus` is
    read instead of the artifact, by a stage that has changed what there is to train on.
    """
    corpus = open_corpus(inputs["tokens"].path) if corpus is None else corpus
    length = config.sequence_length_tokens
    if length > model.config.context_length_tokens:
        out.warn(
            f"rows are {length} tokens long; rope_theta {model.config.rope_theta:,.0f} was trained to "
            f"{model.config.context_length_tokens}; context-lengthening raises it"
        )
    rows = corpus.training_rows(
        config.mixture, row_length_tokens=length, seed=config.data_seed, answer_weight=config.answer_weight
    )
    measure = partial(
        heldout_figures,
        corpus=corpus,
        row_length_tokens=length,
        rows_per_kind=config.heldout_rows_per_kind,
        with_skills=with_skills,
    )
    before = measure(model)
    part = rows_of_process(config.loop, model.config, length)
    with build_loader(rows, config.mixture, batch_size_rows=config.loop.batch_size_rows, part=part) as loader:
        for record in train(config.loop, loss_fn, model, frozen, with_targets(loader), out, key):
            model = record.params
    model = gather(model)
    save_model(out.path, model, tokenizer_sha256=corpus.tokenizer.sha256)
    return {
        "num_tokens": config.num_tokens,
        "heldout_before": before,
        "heldout_after": measure(model),
        **skip_figures(record.skips),
    }
