"""How much outputs matter: against the divergence of a model whose output is moved, which it is to predict."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from codling.data.loader import Batch
from codling.model.block import Block
from codling.model.transformer import Transformer
from codling.ondevice.input_moments import Hidden, advance, run_block
from codling.ondevice.output_importance import ProbedLinear, block_importance, gradient_at_end

NUM_DRAWS = 400
STEP = 0.02
"""Small: the prediction is of second order."""


def blocks_of(model: Transformer) -> list[Block]:
    return [
        jax.tree.map(lambda leaf, layer=layer: leaf[layer], model.blocks) for layer in range(model.config.num_layers)
    ]


def hidden_of(model: Transformer, batch: Batch) -> Hidden:
    tokens, positions, segment_ids = map(jnp.asarray, (batch.tokens, batch.positions, batch.segment_ids))
    return Hidden(model.embedding[tokens], positions, segment_ids)


def log_probs(model: Transformer, hidden: Hidden) -> np.ndarray:
    return np.asarray(jax.nn.log_softmax(model.logits(model.final_norm(hidden.x))), np.float64)


def importance(model: Transformer, batch: Batch, num_draws: int) -> list[dict[str, np.ndarray]]:
    """Of both layers, a mean over tokens and draws."""
    shape = model.config.head_dim, model.config.rope_theta
    first, second = blocks_of(model)
    start = hidden_of(model, batch)
    middle = advance(first, start, *shape)
    end = advance(second, middle, *shape)
    sums: list[dict[str, np.ndarray]] = [{}, {}]
    for draw in range(num_draws):
        gradient = gradient_at_end(model.embedding, model.final_norm, end, jax.random.key(draw))
        for layer, block, hidden in ((1, second, middle), (0, first, start)):
            gradient, squares = block_importance(block, hidden, gradient, *shape)
            for name, found in squares.items():
                sums[layer][name] = sums[layer].get(name, 0.0) + np.asarray(found, np.float64)
    num_tokens = num_draws * int((batch.segment_ids > 0).sum())
    return [{name: found / num_tokens for name, found in of_layer.items()} for of_layer in sums]


def test_it_predicts_the_divergence_of_a_model_whose_output_moves(tiny_model: Transformer, small_batch: Batch) -> None:
    # Of the last block's down-projection: what a token's output does, only its own prediction sees.
    shape = tiny_model.config.head_dim, tiny_model.config.rope_theta
    predicted = importance(tiny_model, small_batch, NUM_DRAWS)[1]["feed_forward.down"]
    first, second = blocks_of(tiny_model)
    middle = advance(first, hidden_of(tiny_model, small_batch), *shape)
    before, is_token = log_probs(tiny_model, advance(second, middle, *shape)), small_batch.segment_ids > 0
    found, expected = [], []
    for output in (0, 3, 7):
        probe = jnp.zeros((*small_batch.tokens.shape, 16)).at[:, :, output].set(STEP)
        probed = eqx.tree_at(
            lambda block: block.feed_forward.down, second, ProbedLinear(second.feed_forward.down, probe)
        )
        after = log_probs(tiny_model, run_block(probed, middle, *shape))
        found.append((np.exp(before) * (before - after)).sum(axis=-1)[is_token].mean())
        expected.append(0.5 * predicted[output] * STEP**2)
    np.testing.assert_allclose(found, expected, rtol=0.25)


def test_every_linear_layer_has_its_outputs_and_padding_none(tiny_model: Transformer, small_batch: Batch) -> None:
    found = importance(tiny_model, small_batch, 1)[0]
    assert {name: values.shape for name, values in found.items()} == {
        "attention.query": (32,),
        "attention.key": (16,),
        "attention.value": (16,),
        "attention.output": (16,),
        "feed_forward.gate": (24,),
        "feed_forward.up": (24,),
        "feed_forward.down": (16,),
    }
    shape = tiny_model.config.head_dim, tiny_model.config.rope_theta
    end = hidden_of(tiny_model, small_batch)
    gradient = gradient_at_end(tiny_model.embedding, tiny_model.final_norm, end, jax.random.key(0))
    assert not np.asarray(gradient)[small_batch.segment_ids == 0].any()
    _, squares = block_importance(blocks_of(tiny_model)[1], end, gradient, *shape)
    assert all((values > 0).any() for values in squares.values())
