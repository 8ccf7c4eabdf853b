"""How much each output of each linear layer matters: the diagonal of the Fisher information over a calibration text.

Where in the recipe: before palettization. To second order the divergence of a model whose layer outputs move by delta
from the model as it was is 1/2 sum of E[g^2] delta^2, where g is the gradient of log p(y) at that output and y is drawn
from the model itself: the true Fisher information, not the empirical one of the text's own tokens (arXiv 1905.12558
says what goes wrong with that). With the second moments of inputs beside it (`input_moments`) an error of a weight
matrix is priced in nats a token.

The gradient is carried back block by block through hidden states kept from the way forward, so that a model that lies
on disk needs no more memory than a block.
"""

from collections.abc import Iterator, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from codling.model.block import Block
from codling.model.linear import Linear
from codling.model.norm import RMSNorm
from codling.ondevice.blocks import Blocks
from codling.ondevice.input_moments import Hidden, linears, run_block, with_linears


class ProbedLinear(eqx.Module):
    """A linear layer to whose output something is added; the gradient there is the output's."""

    base: Linear
    probe: Float[Array, "B T O"]

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B T O"]:
        """Apply the layer and add the probe."""
        return self.base(x) + self.probe


def importance_by_layer(
    model: Blocks, before: Sequence[Sequence[Hidden]], key: PRNGKeyArray
) -> Iterator[tuple[int, dict[str, Float[np.ndarray, " O"]]]]:
    """What the square of an error of each output costs, by the linear layer's path; from the last layer to the first.

    Shapes: `before[layer]` are the batches of rows before a block, and at last those after all of them.
    Units:  E[g^2], a mean over tokens.
    """
    num_tokens = sum(int((np.asarray(hidden.segment_ids) > 0).sum()) for hidden in before[-1])
    embedding, final_norm = model.embedding, model.final_norm
    gradients = [
        gradient_at_end(embedding, final_norm, hidden, jax.random.fold_in(key, number))
        for number, hidden in enumerate(before[-1])
    ]
    for layer in reversed(range(model.config.num_layers)):
        block, sums = model.block(layer), dict[str, np.ndarray]()
        for number, hidden in enumerate(before[layer]):
            gradients[number], squares = block_importance(
                block, hidden, gradients[number], model.config.head_dim, model.config.rope_theta
            )
            for path, values in squares.items():
                sums[path] = sums.get(path, 0.0) + np.asarray(values, np.float64)
        yield layer, {path: values / num_tokens for path, values in sums.items()}


@eqx.filter_jit
def gradient_at_end(
    embedding: Float[Array, "V D"], final_norm: RMSNorm, hidden: Hidden, key: PRNGKeyArray
) -> Float[Array, "B T D"]:
    """Gradient of the sum over tokens of log p(y) at the last block's output; each y is drawn from p."""
    is_token = hidden.segment_ids > 0

    def log_likelihood(x: Float[Array, "B T D"]) -> Float[Array, ""]:
        log_probs = jax.nn.log_softmax(jnp.einsum("btd,vd->btv", final_norm(x), embedding), axis=-1)
        drawn = jax.lax.stop_gradient(jax.random.categorical(key, log_probs, axis=-1))
        picked = jnp.take_along_axis(log_probs, drawn[..., None], axis=-1)[..., 0]
        return jnp.sum(jnp.where(is_token, picked, 0.0))

    gradient: Array = jax.grad(log_likelihood)(hidden.x)
    return gradient


@eqx.filter_jit
def block_importance(
    block: Block, hidden: Hidden, gradient: Float[Array, "B T D"], head_dim: int, rope_theta: float
) -> tuple[Float[Array, "B T D"], dict[str, Float[Array, " O"]]]:
    """From the gradient at a block's output to that at its input, and the squares at its linear layers' outputs.

    Units: sums over all tokens, by the layer's path in the block; nats^2 over the output's own unit squared.
    """
    shape = hidden.x.shape[:2]
    probes = {name: jnp.zeros((*shape, linear.weight.shape[0])) for name, linear in linears(block)}

    def run(x: Float[Array, "B T D"], probes: dict[str, Array]) -> Float[Array, "B T D"]:
        probed, _ = with_linears(block, lambda name, node: ProbedLinear(node, probes[name]))
        return run_block(probed, hidden._replace(x=x), head_dim, rope_theta).x

    _, back = jax.vjp(run, hidden.x, probes)
    at_input, at_outputs = back(gradient)
    return at_input, {name: jnp.sum(found**2, axis=(0, 1)) for name, found in at_outputs.items()}
