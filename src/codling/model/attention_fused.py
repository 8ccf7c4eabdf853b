"""Attention over whole rows by the fused kernels that JAX brings along: cuDNN's on GPU, Splash on TPU."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def attend_cudnn(
    queries: Float[Array, "B T N H"],
    keys: Float[Array, "B T K H"],
    values: Float[Array, "B T K H"],
    segment_ids: Int[Array, "B T"],
    prefix_ids: Int[Array, "B T"] | None = None,
    *,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "B T N H"]:
    """Causal attention within segments, and to those that they continue; the queries are scaled already.

    GPU, bfloat16 or float16. `xla` is the same function for a test without a GPU.
    """
    in_segment = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    if prefix_ids is not None:
        in_segment |= prefix_ids[:, None, :, None] == segment_ids[:, None, None, :]
    attended: Array = jax.nn.dot_product_attention(
        queries, keys, values, mask=in_segment, is_causal=True, scale=1.0, implementation=implementation
    )
    return attended


def attend_splash(
    queries: Float[Array, "B T N H"],
    keys: Float[Array, "B T K H"],
    values: Float[Array, "B T K H"],
    segment_ids: Int[Array, "B T"],
    *,
    interpret: bool = False,
) -> Float[Array, "B T N H"]:
    """Causal attention within segments; the queries are scaled already. TPU; T is a multiple of 128.

    `interpret` runs the kernel step by step, for a test without a TPU.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    batch, length, num_queries, head_dim = queries.shape
    num_kv, served = keys.shape[2], num_queries // keys.shape[2]
    mask = masks.MultiHeadMask([masks.CausalMask((length, length)) for _ in range(served)])
    make_kernel: Any = splash.make_splash_mqa_single_device
    kernel: Any = make_kernel(mask, interpret=interpret)
    grouped = queries.reshape(batch, length, num_kv, served, head_dim).transpose(0, 2, 3, 1, 4)

    def of_row(queries: Array, keys: Array, values: Array, segments: Array) -> Array:
        ids = splash.SegmentIds(segments, segments)
        of_head = jax.vmap(partial(kernel, segment_ids=ids))
        attended: Array = of_head(queries, keys, values)
        return attended

    attended = jax.vmap(of_row)(grouped, keys.transpose(0, 2, 1, 3), values.transpose(0, 2, 1, 3), segment_ids)
    return jnp.asarray(attended).transpose(0, 3, 1, 2, 4).reshape(queries.shape).astype(queries.dtype)
