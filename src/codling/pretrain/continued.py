"""Continued pre-training (arXiv 2407.21075 section 2.2.3): the mixture shifted to better text, at a lower rate."""

from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import load_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.pretrain.text_stage import TextStageConfig, train_on_text


def run_continued(config: TextStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train on from a model. Inputs: tokens, model. Without a teacher: distillation did not help here (report)."""
    return train_on_text(config, load_model(inputs["model"].path), inputs, out, key)
