"""A small checkpoint as somebody else would publish it: a byte-level tokenizer, bfloat16, and their names for all."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from codling.artifact.hf import config_json, tensor_shapes
from codling.model.config import ModelConfig

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END_OF_TEXT, IM_START, IM_END = range(len(SPECIAL))
NUM_TOKENS, NUM_ROWS = 320, 330
"""As in many checkpoints, the embedding has more rows than the tokenizer has tokens."""
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TEXT = (Path(__file__).parent / "data" / "alice.txt").read_text(encoding="utf-8")


def shape(kind: str = "qwen3") -> ModelConfig:
    """A model that runs in milliseconds."""
    return ModelConfig(
        vocab_size=NUM_ROWS,
        model_dim=32,
        ffn_dim=48,
        num_layers=2,
        num_query_heads=4,
        num_kv_heads=2,
        head_dim=8,
        context_length_tokens=64,
        rope_theta=10_000.0,
        norm_epsilon=1e-6,
        query_key_norm=kind == "qwen3",
    )


def tensors(config: ModelConfig, dtype: Any = ml_dtypes.bfloat16) -> dict[str, np.ndarray]:
    """Random weights under the names that Hugging Face uses."""
    random = np.random.default_rng(0)
    return {name: (random.normal(size=shape) * 0.3).astype(dtype) for name, shape in tensor_shapes(config).items()}


def train_byte_level(*, begins: bool = False) -> tokenizers.Tokenizer:
    """A tokenizer of Qwen's kind, or one that puts its first special token before every text, as Llama 3's does."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(QWEN2_SPLIT), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_TOKENS,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    if begins:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{SPECIAL[0]} $A", special_tokens=[(SPECIAL[0], END_OF_TEXT)]
        )
    return tokenizer


def write_checkpoint(
    directory: Path, kind: str = "qwen3", *, dtype: Any = ml_dtypes.bfloat16, begins: bool = False
) -> Path:
    """Write all files of a checkpoint."""
    directory.mkdir()
    config = shape(kind)
    ids = {"bos": END_OF_TEXT, "eos": IM_END}
    (directory / "config.json").write_text(json.dumps(config_json(config, ids, np.dtype(dtype).name)))
    save_file(tensors(config, dtype), directory / "model.safetensors")
    train_byte_level(begins=begins).save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE}))
    generation = {"eos_token_id": [IM_END, END_OF_TEXT], "temperature": 0.6}
    (directory / "generation_config.json").write_text(json.dumps(generation))
    return directory
