"""Run by `test_mesh_steps` in a process of its own: the same training steps on the devices that it was given.

    python mesh_steps.py '{"data": 2, "fsdp": 4}' ...

Prints the losses and the final parameters' sums of each mesh as one line of JSON.
"""

import json
import sys

import equinox as eqx
import jax
import numpy as np

from codling.data.loader import Batch
from codling.model.config import ModelConfig
from codling.model.execution import ComputeConfig, Execution
from codling.model.init import init_transformer
from codling.model.transformer import Transformer
from codling.train.adastar import AdaStarConfig
from codling.train.loss import LossSums
from codling.train.objective import distilled
from codling.train.optimizer import Rates, build_optimizer
from codling.train.sharding import MeshConfig, build_mesh, gather, place, place_rows
from codling.train.state import init_state
from codling.train.step import build_step

MODEL = ModelConfig(
    vocab_size=64, model_dim=32, ffn_dim=48, num_layers=2, num_query_heads=4, num_kv_heads=2, head_dim=8,
    context_length_tokens=32,
)  # fmt: skip
NUM_STEPS, BATCH_SIZE_ROWS, LENGTH_TOKENS = 3, 8, 32
RATES = Rates(np.float32(0.01), np.float32(1e-4))
COMPUTE = ComputeConfig(unroll_layers=False)


def loss_fn(model: Transformer, teacher: Transformer, batch: Batch, key: jax.Array, execution: Execution) -> LossSums:
    return distilled(model, teacher, batch, execution, teacher_weight=0.9)


def draw_batches() -> list[Batch]:
    """Two documents a row, of other lengths in each row, with unlearned tokens here and there."""
    random = np.random.default_rng(0)
    batches = []
    for _ in range(NUM_STEPS):
        tokens = random.integers(0, MODEL.vocab_size, (BATCH_SIZE_ROWS, LENGTH_TOKENS + 1)).astype(np.int32)
        border = random.integers(5, LENGTH_TOKENS - 5, (BATCH_SIZE_ROWS, 1))
        place = np.arange(LENGTH_TOKENS)[None]
        segments = (1 + (place >= border)).astype(np.int32)
        positions = np.where(place >= border, place - border, place).astype(np.int32)
        weights = (random.random((BATCH_SIZE_ROWS, LENGTH_TOKENS)) < 0.7).astype(np.float32)
        batches.append(Batch(tokens[:, :-1], tokens[:, 1:], weights, segments, positions))
    return batches


def run(mesh_config: MeshConfig) -> dict[str, object]:
    mesh = build_mesh(mesh_config, jax.devices()[: np.prod(list(mesh_config.sizes.values()))])
    rule = AdaStarConfig()
    model, teacher = (eqx.filter_jit(init_transformer)(MODEL, jax.random.key(seed)) for seed in (0, 1))
    state, frozen = place(init_state(model, build_optimizer(rule)), mesh), place(teacher, mesh)
    step = build_step(loss_fn, rule, mesh, COMPUTE)
    losses, agreement = [], []
    for batch in draw_batches():
        state, metrics = step(state, frozen, place_rows(batch, mesh, BATCH_SIZE_ROWS), RATES, jax.random.key(2))
        losses.append(float(metrics.loss))
        agreement.append(float(metrics.metrics["teacher_agreement"]))
    params = jax.tree.map(np.asarray, gather(state.params))
    sums = [float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(params)]
    return {"losses": losses, "agreement": agreement, "sums": sums}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(json.dumps(run(MeshConfig(**json.loads(argument)))), flush=True)
