"""A reward model on disk: its backbone as any model is written, its heads beside it."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from codling.artifact.model_files import load_model, save_model
from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.errors import UserError
from codling.posttrain.gradings import ASPECTS, NUM_GRADES
from codling.posttrain.reward_model import RewardModel

HEADS_FILE = "heads.safetensors"
HEADS = ("reward", "grader_hidden", "grader_out")


def save_reward_model(directory: Path, model: RewardModel, *, tokenizer_sha256: str) -> None:
    """Write backbone and heads, float32."""
    save_model(directory, model.backbone, tokenizer_sha256=tokenizer_sha256)
    write_tensors(directory / HEADS_FILE, {name: np.asarray(getattr(model, name)) for name in HEADS}, {})


def load_reward_model(directory: Path) -> RewardModel:
    """Read a reward model. Errors: `UserError` for files that are missing, damaged, or of another model's width."""
    backbone = load_model(directory)
    path, width = directory / HEADS_FILE, backbone.config.model_dim
    tensors, _ = read_tensors(path)
    if missing := sorted(set(HEADS) - set(tensors)):
        raise UserError(f"{path}: has no '{missing[0]}'; the reward model is damaged, train it again")
    aspects = len(ASPECTS)
    graders_width = tensors["grader_out"].shape[1] if tensors["grader_out"].ndim == 3 else -1
    shapes = {
        "reward": (width,),
        "grader_hidden": (aspects, width, graders_width),
        "grader_out": (aspects, graders_width, NUM_GRADES),
    }
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise UserError(f"{path}: '{name}' has the shape {tensors[name].shape}, expected {shape}")
    return RewardModel(backbone, *(jnp.asarray(tensors[name]) for name in HEADS))
