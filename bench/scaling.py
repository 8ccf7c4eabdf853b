"""How the time of a training step grows with model size, row length and virtual devices; and what the loss keeps alive.

    python bench/scaling.py --json bench/results/scaling.json

The model of `codling bench train` and its neighbors, AdamW, float32, 4,096 tokens a step. Each number of devices has a
process of its own; in a process all shapes are compiled first and then take turns, so that a busy moment of the machine
strikes all alike. Medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from codling.bench.train_side import MODEL, build_ours
from codling.model.config import ModelConfig
from codling.train.host import keep_freed_memory, use_all_cores

TOKENS_PER_STEP, ROUNDS = 4096, 7
SIZES = {"128 wide, 4 layers": (128, 4), "256 wide, 6 layers": (256, 6), "512 wide, 8 layers": (512, 8)}
LENGTHS = (256, 512, 1024, 2048, 4096)
NUM_DEVICES = (1, 2, 4, 8)
LOSS_VOCAB_SIZE, LOSS_TOKENS, LOSS_MODEL_DIM = 49_152, 4096, 256

RunStep = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--devices", type=int, help="measure in this process, with the reference model alone")
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.devices:
        os.environ["JAX_NUM_CPU_DEVICES"] = str(arguments.devices)
        print(json.dumps(measure({"reference": build(MODEL, 256)})))
        return
    use_all_cores()
    figures = {
        "by model size": measure_sizes(),
        "by row length": measure({str(length): build(MODEL, length) for length in LENGTHS}),
        "by virtual devices": {str(count): _child(count) for count in NUM_DEVICES},
        "loss at vocabulary 49,152, 4,096 tokens": loss_bytes(),
    }
    text = json.dumps({"tokens_per_step": TOKENS_PER_STEP, "rounds": ROUNDS} | figures, indent=1) + "\n"
    print(text)
    if arguments.json:
        arguments.json.write_text(text)


def measure_sizes() -> dict[str, Any]:
    """Step time beside the operations that a step has, which would be all if the speed were the same."""
    from codling.model.count import count_parameters, training_flops_per_token

    models = {name: shaped(*size) for name, size in SIZES.items()}
    rows = measure({name: build(model, 256) for name, model in models.items()})
    for name, model in models.items():
        flops = training_flops_per_token(model, 256) * TOKENS_PER_STEP
        rows[name] |= {
            "parameters": count_parameters(model).total,
            "gflop_per_step": flops / 1e9,
            "gflop_per_s": flops / 1e9 / rows[name]["step_s"],
        }
    return rows


def shaped(model_dim: int, num_layers: int) -> ModelConfig:
    """The reference model, wider or narrower."""
    num_heads = model_dim // MODEL.head_dim
    return replace(
        MODEL,
        model_dim=model_dim,
        ffn_dim=3 * model_dim,
        num_layers=num_layers,
        num_query_heads=num_heads,
        num_kv_heads=max(1, num_heads // 2),
    )


def build(model: ModelConfig, length_tokens: int) -> RunStep:
    """The step of the training bench, compiled and warm; a call runs one and says how long it took."""
    num_rows = TOKENS_PER_STEP // length_tokens
    train_one_step = build_ours(replace(model, context_length_tokens=length_tokens), num_rows)
    random = np.random.default_rng(0)
    tokens = random.integers(0, model.vocab_size, (num_rows, length_tokens + 1)).astype(np.int32)

    def run_step() -> float:
        start = time.perf_counter()
        train_one_step(tokens)
        return time.perf_counter() - start

    run_step()
    run_step()
    return run_step


def measure(steps: dict[str, RunStep]) -> dict[str, Any]:
    """Medians of a few rounds, in turn."""
    times_s: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, run_step in steps.items():
            times_s[name].append(run_step())
    return {
        name: {
            "step_s": statistics.median(found),
            "best_s": min(found),
            "tokens_per_s": TOKENS_PER_STEP / statistics.median(found),
            "all_s": found,
        }
        for name, found in times_s.items()
    }


def loss_bytes() -> dict[str, Any]:
    """What the compiler sets aside for the loss and its gradient: in chunks, and with all tokens in one."""
    import jax
    import jax.numpy as jnp

    from codling.train.loss import CHUNK_LENGTH_TOKENS, LabelTargets, cross_entropy, head_loss

    def temporary_bytes(chunk_length_tokens: int) -> int:
        def loss(hidden: jax.Array, embedding: jax.Array, labels: jax.Array) -> jax.Array:
            weights = jnp.ones(LOSS_TOKENS)
            targets = LabelTargets(labels)
            return head_loss(cross_entropy, hidden, embedding, targets, None, weights, chunk_length_tokens).value

        struct: Any = jax.ShapeDtypeStruct
        hidden, embedding, labels = (
            struct((LOSS_TOKENS, LOSS_MODEL_DIM), jnp.float32),
            struct((LOSS_VOCAB_SIZE, LOSS_MODEL_DIM), jnp.float32),
            struct((LOSS_TOKENS,), jnp.int32),
        )
        compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(hidden, embedding, labels).compile()
        memory = compiled.memory_analysis()
        assert memory is not None
        return int(memory.temp_size_in_bytes)

    return {
        "one chunk of logits, bytes": CHUNK_LENGTH_TOKENS * LOSS_VOCAB_SIZE * 4,
        "all logits, bytes": LOSS_TOKENS * LOSS_VOCAB_SIZE * 4,
        "gradient of the embedding, bytes": LOSS_VOCAB_SIZE * LOSS_MODEL_DIM * 4,
        "temporary in chunks, bytes": temporary_bytes(CHUNK_LENGTH_TOKENS),
        "temporary in one piece, bytes": temporary_bytes(LOSS_TOKENS),
    }


def _child(num_devices: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--devices", str(num_devices)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["reference"]
    return found


if __name__ == "__main__":
    main()
