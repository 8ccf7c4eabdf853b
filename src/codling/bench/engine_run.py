"""One run of the engine's bench: what is measured, on which files, and where the rows go. Given to every part of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from codling.bench.engine_log import RowLog
from codling.model.config import ModelConfig, named_size
from codling.model.count import kv_cache_bytes_per_token

LLAMA, TRANSFORMERS = "llama.cpp", "transformers"
REPEATED_TOKENS = 512
"""Of contexts that are multiples of this, so many are run; the others are copies of them, on all sides."""
PEERS = (LLAMA, TRANSFORMERS)
LONGEST_RUN_TOKENS = 1024
"""Room for what is generated after the longest context."""
COLUMN_BLOCK = 256
"""llama.cpp's K types take this many columns at a time and quietly become others for another number."""


class EngineBenchConfig(NamedTuple):
    """How much is measured."""

    size: str = "device_3b"
    """Shape of the model of random weights, by name."""
    threads: tuple[int, ...] = (2, 1)
    types: tuple[str, ...] = ("Q4_0", "Q3_K_S", "IQ4_NL", "Q4_K_M", "Q8_0")
    """Of weights in llama.cpp."""
    llama_cache: str = "F16"
    """llama.cpp's type of keys and values; F16 is its default."""
    contexts_tokens: tuple[int, ...] = (0, 4096, 16_384, 32_768)
    prompts_tokens: tuple[int, ...] = (512, 4096)
    first_token_prompt_tokens: int = 100
    num_generated_tokens: int = 32
    """In one round."""
    num_rounds: int = 5
    num_sessions: int = 8
    memory_buffer_bytes: int = 1 << 30
    """Read to find out how fast memory is: far larger than any cache."""


class EngineRun(NamedTuple):
    """What every part of the bench is given."""

    directory: Path
    """Of all files that are made."""
    bundle: Path
    """Random weights."""
    shape: ModelConfig
    """Of the bundle, and of the peers' files."""
    small: Path | None
    """A bundle that was trained, and is small."""
    peers: tuple[str, ...]
    config: EngineBenchConfig
    log: RowLog
    say: Callable[[str], None]


def bench_shape(config: EngineBenchConfig) -> ModelConfig:
    """The named size, wide enough for all types of the peer, with room for the longest context and prompt.

    Errors: `UserError` for an unknown one.
    """
    longest = max(*config.contexts_tokens, *config.prompts_tokens) + LONGEST_RUN_TOKENS
    shape = named_size(config.size)
    ffn_dim = -(-shape.ffn_dim // COLUMN_BLOCK) * COLUMN_BLOCK
    return replace(shape, ffn_dim=ffn_dim, context_length_tokens=max(shape.context_length_tokens, longest))


def cache_bytes_per_token(shape: ModelConfig) -> int:
    """Of the engine's default cache: int8 keys and values, each head's with a scale of 32 bits."""
    num_heads = 2 * shape.num_layers * shape.num_kv_heads
    return kv_cache_bytes_per_token(shape, 1) + 4 * num_heads


def repeats_of(context_tokens: int) -> tuple[int, int]:
    """How often a part is repeated to be this context, and how many tokens the part has."""
    is_repeated = context_tokens > REPEATED_TOKENS and context_tokens % REPEATED_TOKENS == 0
    return (context_tokens // REPEATED_TOKENS, REPEATED_TOKENS) if is_repeated else (1, context_tokens)
