"""One side of the training bench, in a process of its own: `python -m codling.bench.train_side ours`.

Says `ready` when everything is compiled and warm. Then, for every line on stdin that holds a number of steps, trains
that many and answers with one JSON line. Between two lines it sleeps, so that the other side has the cores to itself.
Both sides do the same work in float32: forward, loss, backward, clipping of the gradient, AdamW, and a look at the
loss after each step.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from enum import StrEnum

import numpy as np

from codling.model.config import ModelConfig
from codling.train.host import keep_freed_memory

BATCH_SIZE_ROWS, ROW_LENGTH_TOKENS = 16, 256
NUM_BATCHES, WARMUP_STEPS = 4, 3
LEARNING_RATE, WEIGHT_DECAY, MOMENTUM_DECAY, SECOND_MOMENT_DECAY, MAX_GRADIENT_NORM = 1e-3, 0.1, 0.9, 0.95, 1.0

MODEL = ModelConfig(
    vocab_size=8192,
    model_dim=256,
    ffn_dim=768,
    num_layers=6,
    num_query_heads=4,
    num_kv_heads=2,
    head_dim=64,
    context_length_tokens=ROW_LENGTH_TOKENS,
)
"""6.8M parameters: small enough to measure in a minute, large enough that its products dominate."""

TrainOneStep = Callable[[np.ndarray], float]
"""(tokens [B, T + 1]) -> the loss before the update."""


class Side(StrEnum):
    """Who trains."""

    OURS = "ours"
    EAGER = "eager"
    COMPILED = "compiled"


def build_ours(config: ModelConfig = MODEL, batch_size_rows: int = BATCH_SIZE_ROWS) -> TrainOneStep:
    """The step that `train.loop` runs, on all devices."""
    import equinox as eqx
    import jax

    from codling.data.loader import Batch
    from codling.model.execution import ComputeConfig, Execution
    from codling.model.init import init_transformer
    from codling.model.transformer import Transformer
    from codling.train.adamw import AdamWConfig
    from codling.train.loss import LossSums
    from codling.train.objective import next_token
    from codling.train.optimizer import Rates, build_optimizer
    from codling.train.sharding import data_mesh, place_rows, replicate
    from codling.train.state import init_state
    from codling.train.step import build_step

    def loss_fn(params: Transformer, frozen: None, batch: Batch, key: jax.Array, execution: Execution) -> LossSums:
        return next_token(params, batch, execution)

    rule = AdamWConfig(
        momentum_decay=MOMENTUM_DECAY,
        second_moment_decay=SECOND_MOMENT_DECAY,
        max_gradient_norm=MAX_GRADIENT_NORM,
    )
    rates = Rates(np.float32(LEARNING_RATE), np.float32(LEARNING_RATE * WEIGHT_DECAY))
    mesh = data_mesh(batch_size_rows)
    model = eqx.filter_jit(init_transformer)(config, jax.random.key(0))
    state = replicate(init_state(model, build_optimizer(rule)), mesh)
    step = build_step(loss_fn, rule, mesh, ComputeConfig())
    key = jax.random.key(1)

    def train_one_step(tokens: np.ndarray) -> float:
        nonlocal state
        ones = np.ones(tokens[:, 1:].shape, np.int32)
        positions = np.cumsum(ones, axis=1, dtype=np.int32) - 1
        batch = Batch(tokens[:, :-1], tokens[:, 1:], ones.astype(np.float32), ones, positions)
        state, metrics = step(state, None, place_rows(batch, mesh, batch_size_rows), rates, key)
        return float(metrics.loss)

    return train_one_step


def build_theirs(is_compiled: bool) -> TrainOneStep:
    """Qwen3 of transformers on PyTorch, as its users train it: fused AdamW, fused attention."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from codling.artifact.hf import config_json

    torch.set_num_threads(_num_cores())
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**config_json(MODEL, {}))).train()
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=LEARNING_RATE,
        betas=(MOMENTUM_DECAY, SECOND_MOMENT_DECAY),
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )
    forward = torch.compile(model) if is_compiled else model

    def train_one_step(tokens: np.ndarray) -> float:
        inputs = torch.from_numpy(tokens[:, :-1].astype(np.int64))
        labels = torch.from_numpy(tokens[:, 1:].astype(np.int64))
        loss = forward(input_ids=inputs, shift_labels=labels, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return train_one_step


def main(side: Side) -> None:
    """Serve one side until stdin ends."""
    random = np.random.default_rng(0)
    shape = (NUM_BATCHES, BATCH_SIZE_ROWS, ROW_LENGTH_TOKENS + 1)
    batches = random.integers(0, MODEL.vocab_size, size=shape).astype(np.int32)
    if side is Side.OURS:
        # As `codling.cli` does before JAX starts.
        keep_freed_memory()
        os.environ["JAX_NUM_CPU_DEVICES"] = str(_num_cores())
    train_one_step = build_ours() if side is Side.OURS else build_theirs(side is Side.COMPILED)
    for step in range(WARMUP_STEPS):
        train_one_step(batches[step % NUM_BATCHES])
    print("ready", flush=True)
    for line in sys.stdin:
        num_steps, start, loss = int(line), time.perf_counter(), float("nan")
        for step in range(num_steps):
            loss = train_one_step(batches[step % NUM_BATCHES])
        elapsed_s = time.perf_counter() - start
        tokens_per_s = num_steps * BATCH_SIZE_ROWS * ROW_LENGTH_TOKENS / elapsed_s
        print(json.dumps({"tokens_per_s": tokens_per_s, "loss": loss}), flush=True)


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main(Side(sys.argv[1]))
