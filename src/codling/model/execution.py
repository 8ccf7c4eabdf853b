"""How a model is run over training rows, which changes memory and time but not what it computes."""

from enum import StrEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp

from codling.config import config
from codling.model.partition import Partition


class Remat(StrEnum):
    """What the backward pass computes again instead of keeping (arXiv 1604.06174)."""

    NOTHING = "nothing"
    """All activations are kept: fastest where they fit."""
    ATTENTION = "attention"
    """The outputs of linear layers are kept, all between them is computed again."""
    LAYERS = "layers"
    """Only the input of each layer is kept."""


class AttentionKernel(StrEnum):
    """What computes attention over training rows."""

    AUTO = "auto"
    """Splash on TPU, cuDNN on GPU in bfloat16, blocks elsewhere."""
    BLOCKS = "blocks"
    """Ours, in plain JAX: blocks of queries, no score matrix of length squared."""
    CUDNN = "cudnn"
    SPLASH = "splash"


class ComputeType(StrEnum):
    """What forward and backward pass compute in; parameters, optimizer and loss are float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@config
class ComputeConfig:
    """The choices that a recipe makes."""

    dtype: ComputeType = ComputeType.FLOAT32
    remat: Remat = Remat.NOTHING
    attention: AttentionKernel = AttentionKernel.AUTO
    unroll_layers: bool | None = None
    """One straight program instead of a loop over the layers: faster on a CPU, slower to compile; none: on a CPU, up to
    12 layers."""
    head_chunk_tokens: int | None = None
    """Tokens of a device whose logits are alive at once. The gradient of the whole embedding is added up once a chunk,
    which makes short chunks dear where arithmetic is cheap; none: 512 on a CPU, 2,048 elsewhere."""


class Execution(NamedTuple):
    """The recipe's choices, and the mesh that they run on; none: one device, or one of several by hand."""

    compute: ComputeConfig = ComputeConfig()
    partition: Partition | None = None

    @property
    def platform(self) -> str:
        """Of the devices that run the model, which need not be this machine's."""
        return jax.default_backend() if self.partition is None else self.partition.platform

    @property
    def dtype(self) -> jnp.dtype:
        """What activations are."""
        return jnp.dtype(self.compute.dtype.value)


PLAIN = Execution()
