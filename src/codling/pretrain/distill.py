"""Core training of the small model with the large one as its teacher (arXiv 2407.21075 section 2.2.2).

The teacher's forward pass runs inside the step. Its logits exist for one chunk of tokens at a time, like the student's.
"""

from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import load_model, tokenizer_of
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import Batch
from codling.errors import UserError
from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.pretrain.text_stage import TextStageConfig, train_on_text
from codling.train.loss import LossSums
from codling.train.objective import distilled


@config
class DistillConfig:
    """Core training against a teacher's first choice and the label."""

    text: TextStageConfig
    teacher_weight: float = 0.9
    """Share of the target that is the teacher's top-1 (arXiv 2407.21075 section 2.2.2); the rest is the label."""


def run_distill(config: DistillConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train the model with a teacher. Inputs: tokens, model, teacher."""
    if tokenizer_of(inputs["model"].path) != tokenizer_of(inputs["teacher"].path):
        raise UserError(f"{out.name}: teacher and student have different tokenizers; train both with one")

    def loss_fn(
        model: Transformer, teacher: Transformer, batch: Batch, key: PRNGKeyArray, execution: Execution
    ) -> LossSums:
        return distilled(model, teacher, batch, execution, teacher_weight=config.teacher_weight)

    teacher = load_model(inputs["teacher"].path)
    return train_on_text(
        config.text, load_model(inputs["model"].path), inputs, out, key, loss_fn=loss_fn, frozen=teacher
    )
