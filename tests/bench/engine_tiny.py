"""A run of the engine's bench that takes a moment: a tiny shape in place of the named one, few rounds of little."""

from pathlib import Path

from codling.bench.engine_log import RowLog
from codling.bench.engine_models import RandomBundleConfig, random_bundle
from codling.bench.engine_run import EngineBenchConfig, EngineRun
from codling.model.config import ModelConfig

SHAPE = ModelConfig(
    vocab_size=400,
    model_dim=64,
    ffn_dim=96,
    num_layers=2,
    num_query_heads=2,
    num_kv_heads=1,
    head_dim=32,
    context_length_tokens=256,
)
CONFIG = EngineBenchConfig(
    threads=(2, 1),
    types=("Q8_0", "Q4_0"),
    contexts_tokens=(0, 20),
    prompts_tokens=(8,),
    first_token_prompt_tokens=5,
    num_generated_tokens=3,
    num_rounds=3,
    num_sessions=2,
    memory_buffer_bytes=1 << 16,
)


def tiny_run(directory: Path, said: list[str], *, small: Path | None = None, peers: tuple[str, ...] = ()) -> EngineRun:
    """Files are made in `directory` if they are not there."""
    drawn = RandomBundleConfig(shape=SHAPE, num_adapters=CONFIG.num_sessions)
    bundle = random_bundle(directory, drawn, said.append)
    log = RowLog(directory, "build", said.append)
    return EngineRun(directory, bundle, SHAPE, small, peers, CONFIG, log, said.append)
