"""The true training step, compiled for a machine that is not there.

The very function that `train.loop` runs, on shapes in place of arrays: nothing is computed and no weight exists.
"""

import re
import resource
import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree

from codling.data.loader import Batch
from codling.errors import UserError
from codling.model.execution import AttentionKernel, ComputeConfig, ComputeType, Execution, Remat
from codling.model.init import init_transformer
from codling.model.partition import Partition
from codling.model.transformer import Transformer
from codling.scale.collectives import Collective
from codling.scale.hlo import read_collectives
from codling.scale.quiet import quiet_stderr
from codling.scale.workload import Workload
from codling.train.adastar import AdaStarConfig
from codling.train.loss import LossSums
from codling.train.objective import ACCELERATOR_CHUNK_LENGTH_TOKENS, next_token
from codling.train.optimizer import Rates, build_optimizer
from codling.train.sharding import shardings_of, splits_rows_only
from codling.train.state import init_state
from codling.train.step import build_step

QUICK = {"exec_time_optimization_effort": -1.0}
"""XLA at its least effort: the same exchanges without the fusions that hide them, in a third of the time."""
SPLASH_BLOCK_TOKENS = 128
"""The TPU kernel for attention takes rows in whole blocks."""


REFUSAL = re.compile(r"(?:Used |HLO temporaries \()([\d.]+)([KMGT])\)? (?:of|exceeds)")
"""How XLA says that a program needs more memory than the chip has: in all, or for what lives during the step."""


class CompiledStep(NamedTuple):
    """What the compiler says of the step, for one chip."""

    argument_bytes: int
    """Parameters, optimizer and batch."""
    temporary_bytes: int
    """All that lives during the step only."""
    program_bytes: int
    collectives: list[Collective]
    compile_s: float
    peak_host_bytes: int
    """Of this process, so far."""


class DoesNotFit(Exception):
    """The compiler found no way to run the step in the chip's memory."""

    def __init__(self, needed_bytes: float) -> None:
        super().__init__(needed_bytes)
        self.needed_bytes = needed_bytes
        """At least."""


def compile_step(
    workload: Workload, mesh: Mesh, remat: Remat, num_slices: int, *, is_quick: bool = False
) -> CompiledStep:
    """Compile, and read what came out. Errors: `DoesNotFit`; `UserError` for shapes that the kernels do not take."""
    platform = mesh.devices.flat[0].platform
    if platform == "tpu":
        _check_kernel(workload)
    compute = ComputeConfig(
        dtype=ComputeType.BFLOAT16,
        remat=remat,
        attention=AttentionKernel.SPLASH if platform == "tpu" else AttentionKernel.BLOCKS,
        unroll_layers=False,
        head_chunk_tokens=ACCELERATOR_CHUNK_LENGTH_TOKENS,
    )
    start = time.perf_counter()
    with quiet_stderr(), jax.numpy_dtype_promotion("standard"):
        lowered = build_step(_loss, AdaStarConfig(), mesh, compute).lower(*abstract_arguments(workload, mesh))  # type: ignore[attr-defined]
        try:
            compiled = lowered.compile(compiler_options=QUICK if is_quick else None)
        except jax.errors.JaxRuntimeError as error:
            if (needed := REFUSAL.search(str(error))) is None:
                raise
            raise DoesNotFit(float(needed[1]) * 1024.0 ** (1 + "KMGT".index(needed[2]))) from None
        text = compiled.as_text()
    memory = compiled.memory_analysis()
    return CompiledStep(
        argument_bytes=memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        program_bytes=memory.generated_code_size_in_bytes,
        collectives=read_collectives(text, mesh.size, num_slices),
        compile_s=time.perf_counter() - start,
        peak_host_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def abstract_arguments(workload: Workload, mesh: Mesh) -> tuple[Any, ...]:
    """State, nothing frozen, batch, rates and key of a step: shapes, and how they lie on the mesh."""
    partition, optimizer = Partition(mesh), build_optimizer(AdaStarConfig())

    def build(key: Any) -> PyTree:
        return init_state(init_transformer(workload.model, key), optimizer)

    key = jax.eval_shape(lambda: jax.random.key(0))
    state = eqx.filter_eval_shape(build, key)
    whole = jax.tree.map(lambda _: partition.sharding(), state)
    state = _place(state, whole if splits_rows_only(mesh) else shardings_of(state, partition))
    struct: Any = jax.ShapeDtypeStruct
    shape, rows = (workload.batch_size_rows, workload.sequence_length_tokens), partition.sharding("rows", "tokens")

    def of_batch(dtype: Any) -> Any:
        return struct(shape, dtype, sharding=rows)

    ids = of_batch(jnp.int32)
    batch = Batch(tokens=ids, targets=ids, loss_weights=of_batch(jnp.float32), segment_ids=ids, positions=ids)
    rate = struct((), jnp.float32, sharding=partition.sharding())
    return state, None, batch, Rates(rate, rate), _place(key, partition.sharding())


def _loss(model: Transformer, frozen: None, batch: Batch, key: Any, execution: Execution) -> LossSums:
    return next_token(model, batch, execution)


def _place(tree: PyTree, shardings: PyTree) -> PyTree:
    struct: Any = jax.ShapeDtypeStruct

    def place(leaf: Any, sharding: Any) -> Any:
        return struct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, tree, shardings)


def _check_kernel(workload: Workload) -> None:
    length = workload.sequence_length_tokens
    if length % SPLASH_BLOCK_TOKENS:
        raise UserError(
            f"{workload.name}: sequence length {length} is not a multiple of {SPLASH_BLOCK_TOKENS}, as attention on "
            "TPUs needs it"
        )
