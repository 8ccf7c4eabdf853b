"""Core training of the small model with the large one as its teacher (arXiv 2407.21075 section 2.2.2)."""

import enum
from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import load_model, tokenizer_of
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import Batch, BatchLoader
from codling.errors import UserError
from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.pretrain.teacher_choices import CHOICES_FILE, ChoicesLoader, DistillBatch, write_choices
from codling.pretrain.text_stage import TextStageConfig, train_on_text
from codling.train.loss import LossSums
from codling.train.objective import distilled, distilled_from_choices


class TeacherTargets(enum.StrEnum):
    """When the teacher is asked."""

    IN_STEP = "in_step"
    """In every step; its logits exist for one chunk of tokens at a time, like the student's."""
    WRITTEN = "written"
    """Before the first step, for all batches of the stage; the loader reads its choices back."""


@config
class DistillConfig:
    """Core training against a teacher's first choice and the label."""

    text: TextStageConfig
    teacher_weight: float = 0.9
    """Share of the target that is the teacher's top-1 (arXiv 2407.21075 section 2.2.2); the rest is the label."""
    teacher_targets: TeacherTargets = TeacherTargets.IN_STEP


def run_distill(config: DistillConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train the model with a teacher. Inputs: tokens, model, teacher."""
    if tokenizer_of(inputs["model"].path) != tokenizer_of(inputs["teacher"].path):
        raise UserError(f"{out.name}: teacher and student have different tokenizers; train both with one")
    teacher, model = load_model(inputs["teacher"].path), load_model(inputs["model"].path)
    train = partial(train_on_text, config.text, model, inputs, out, key)
    weight = config.teacher_weight
    if config.teacher_targets is TeacherTargets.IN_STEP:
        return train(loss_fn=partial(_with_teacher, teacher_weight=weight), frozen=teacher)

    def with_choices(loader: BatchLoader) -> ChoicesLoader:
        return ChoicesLoader(loader, write_choices(teacher, loader, config.text.loop.num_steps, out))

    metrics = train(loss_fn=partial(_with_choices, teacher_weight=weight), with_targets=with_choices)
    (out.path / CHOICES_FILE).unlink()
    return metrics


def _with_teacher(
    model: Transformer,
    teacher: Transformer,
    batch: Batch,
    key: PRNGKeyArray,
    execution: Execution,
    *,
    teacher_weight: float,
) -> LossSums:
    return distilled(model, teacher, batch, execution, teacher_weight=teacher_weight)


def _with_choices(
    model: Transformer,
    frozen: None,
    batch: DistillBatch,
    key: PRNGKeyArray,
    execution: Execution,
    *,
    teacher_weight: float,
) -> LossSums:
    rows, choices = batch
    return distilled_from_choices(model, jnp.asarray(choices), rows, execution, teacher_weight=teacher_weight)
