"""The one table: which axis of the mesh each dimension of an array is split over.

data      rows of the batch, between slices that a data-center network joins; only gradients cross it
fsdp      rows of the batch; and every parameter's model dimension, gathered where it is used (arXiv 1910.02054)
sequence  tokens of a row, for long inputs: queries stay where they are, keys and values are gathered
tensor    heads, FFN units and vocabulary (arXiv 1909.08053); between the layers tokens (arXiv 2205.05198)
"""

from dataclasses import dataclass
from functools import partial
from math import prod

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

DATA, FSDP, SEQUENCE, TENSOR = MESH_AXES = ("data", "fsdp", "sequence", "tensor")
"""From the slowest links to the fastest."""

TOKEN_AXES = (DATA, FSDP, SEQUENCE)
"""Over which the tokens of a batch are split."""

Dimensions = tuple[str | None, ...]

RULES: dict[str | None, tuple[str, ...]] = {
    "rows": (DATA, FSDP),
    "tokens": (SEQUENCE,),
    "tokens_between_layers": (SEQUENCE, TENSOR),
    "model": (FSDP,),
    "heads": (TENSOR,),
    "kv_heads": (TENSOR,),
    "ffn": (TENSOR,),
    "vocab": (TENSOR,),
    "slices": (DATA,),
    "copies": (FSDP, SEQUENCE),
    None: (),
}


@dataclass(frozen=True)
class Partition:
    """A mesh with all of `MESH_AXES`, and the table applied to it."""

    mesh: Mesh | AbstractMesh
    """Abstract: to ask the table what goes where, without devices."""

    def spec(self, *dimensions: str | None) -> PartitionSpec:
        """How an array of these dimensions is split."""
        return PartitionSpec(*(RULES[dimension] or None for dimension in dimensions))  # type: ignore[no-untyped-call]

    def sharding(self, *dimensions: str | None) -> NamedSharding:
        """The same, on the mesh."""
        return NamedSharding(self.mesh, self.spec(*dimensions))

    def constrain(self, x: Array, *dimensions: str | None) -> Array:
        """Tell the compiler how a value inside a program is split."""
        constrained: Array = jax.lax.with_sharding_constraint(x, self.sharding(*dimensions))  # type: ignore[no-untyped-call]
        return constrained

    def move(self, x: Array, there: Dimensions, back: Dimensions) -> Array:
        """Lay a value in one way, and its gradient in another."""
        return _move(x, self.sharding(*there), self.sharding(*back))

    def axes(self, dimension: str) -> tuple[str, ...]:
        """The axes that a dimension is split over."""
        return RULES[dimension]

    def num_parts(self, dimension: str) -> int:
        """Into how many parts a dimension is split."""
        return prod(self.mesh.shape[axis] for axis in RULES[dimension])

    @property
    def platform(self) -> str:
        """Of the mesh's devices, which need not be this machine's."""
        assert isinstance(self.mesh, Mesh)
        platform: str = self.mesh.devices.flat[0].platform
        return platform


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _move(x: Array, there: NamedSharding, back: NamedSharding) -> Array:
    moved: Array = jax.lax.with_sharding_constraint(x, there)  # type: ignore[no-untyped-call]
    return moved


def _move_forward(x: Array, there: NamedSharding, back: NamedSharding) -> tuple[Array, None]:
    return _move(x, there, back), None


def _move_backward(there: NamedSharding, back: NamedSharding, _: None, gradient: Array) -> tuple[Array]:
    return (jax.lax.with_sharding_constraint(gradient, back),)  # type: ignore[no-untyped-call]


_move.defvjp(_move_forward, _move_backward)
