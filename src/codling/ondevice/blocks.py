"""A model of which one block at a time is in memory: what compression and recovery go through."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from codling.model.block import Block
from codling.model.config import ModelConfig
from codling.model.norm import RMSNorm


@runtime_checkable
class Blocks(Protocol):
    """Its parts, by layer. `Transformer` is one, and `BlockFiles` is one on disk."""

    config: ModelConfig

    @property
    def embedding(self) -> Float[Array, "V D"]:
        """Input and output embedding."""

    @property
    def final_norm(self) -> RMSNorm:
        """The norm before the output embedding."""

    def block(self, layer: int) -> Block:
        """The block of a layer."""
