"""What a token costs in the training of a recovery adapter, next to plain training of the same model.

    python bench/recovery_speed.py runs/compress/bundle --json bench/results/recovery_speed.json

Steps of 2,048 tokens, AdamW, float32, interleaved in one process; medians of 7 rounds. Recovery runs the teacher and
the student, and takes gradients of the adapters alone; with tables, of those, too.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codling.adapters.lora import attach, split
from codling.artifact.bundle import load_bundle
from codling.artifact.hf import EMBEDDING_NAME, model_tensors
from codling.compress.palettize import palettize
from codling.data.loader import Batch
from codling.model.execution import ComputeConfig
from codling.model.transformer import Transformer
from codling.ondevice.recover import matching_loss
from codling.ondevice.trainable_tables import open_tables
from codling.pretrain.text_stage import next_token_loss
from codling.train.adamw import AdamWConfig
from codling.train.host import prepare_host
from codling.train.optimizer import Rates, build_optimizer
from codling.train.sharding import data_mesh, place, place_rows
from codling.train.state import init_state
from codling.train.step import LossFunction, build_step

BATCH_ROWS, ROW_TOKENS, ROUNDS, RANK = 8, 256, 7, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_host()
    model = load_bundle(arguments.bundle).model
    matrices = {
        name: palettize(tensor)
        for name, tensor in model_tensors(model).items()
        if tensor.ndim == 2 and name != EMBEDDING_NAME
    }
    ways: dict[str, Callable[[], None]] = {"plain": runner(next_token_loss, model, None)}
    for name, with_tables in (("recovery, tables fixed", False), ("recovery, with tables", True)):
        base = open_tables(model, matrices) if with_tables else model
        trained, rest = split(attach(base, RANK, jax.random.key(0)), with_tables=with_tables)
        ways[name] = runner(matching_loss(0.0), trained, (rest, model))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for number in range(ROUNDS):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: 1e6 * statistics.median(found) / (BATCH_ROWS * ROW_TOKENS) for name, found in seconds.items()}
    ratios = {name: value / medians["plain"] for name, value in medians.items()}
    record: dict[str, Any] = {"microseconds_per_token": medians, "times_plain": ratios, "seconds_per_step": seconds}
    arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for name, value in medians.items():
        print(f"{name:24} {value:8.1f} us a token, {ratios[name]:.2f} of plain training")


def runner(loss_fn: LossFunction[Transformer], trained: Transformer, frozen: Any) -> Callable[[], None]:
    """One step, run to its end."""
    mesh, rule = data_mesh(BATCH_ROWS), AdamWConfig()
    step = build_step(loss_fn, rule, mesh, ComputeConfig())
    held = [place(init_state(jax.tree.map(jnp.copy, trained), build_optimizer(rule)), mesh)]
    frozen = place(frozen, mesh)
    random = np.random.default_rng(0)
    tokens, targets = random.integers(0, held[0].params.config.vocab_size, (2, BATCH_ROWS, ROW_TOKENS)).astype(np.int32)
    positions = np.tile(np.arange(ROW_TOKENS, dtype=np.int32), (BATCH_ROWS, 1))
    ones = np.ones((BATCH_ROWS, ROW_TOKENS), np.int32)
    batch = place_rows(Batch(tokens, targets, ones.astype(np.float32), ones, positions), mesh, BATCH_ROWS)

    def run() -> None:
        rates = Rates(np.float32(1e-4), np.float32(0.0))
        held[0], metrics = step(held[0], frozen, batch, rates, jax.random.key(0))
        metrics.loss.block_until_ready()

    return run


if __name__ == "__main__":
    main()
