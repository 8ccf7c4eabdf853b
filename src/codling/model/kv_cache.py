"""Keys and values of the tokens seen so far, so that generation computes each token once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from codling.model.attention import Context, attend_masked
from codling.model.config import ModelConfig


class KVCache(Context):
    """Slot s of row b holds the key and value of the token at position s.

    Prompts of different lengths share a batch, padded on the right: a padded slot lies after the row's last
    position, so nothing sees it, and the first generated token overwrites it.
    """

    keys: Float[Array, "*L B S K H"]
    values: Float[Array, "*L B S K H"]
    positions: Int[Array, "*L B"]
    """The position of the first token of the next call."""

    def attend(
        self, queries: Float[Array, "B T N H"], keys: Float[Array, "B T K H"], values: Float[Array, "B T K H"]
    ) -> tuple[Float[Array, "B T N H"], "KVCache"]:
        """Write the new keys and values at each row's own position; see every slot up to one's own."""
        all_keys = _write(self.keys, keys, self.positions)
        all_values = _write(self.values, values, self.positions)
        slots = jnp.arange(self.keys.shape[1])[None, None, :]
        own_positions = self.positions[:, None] + jnp.arange(keys.shape[1])[None, :]
        attended = attend_masked(queries, all_keys, all_values, slots <= own_positions[:, :, None])
        return attended, KVCache(all_keys, all_values, self.positions)


def empty_cache(config: ModelConfig, batch_size: int, num_slots: int, dtype: jnp.dtype) -> KVCache:
    """A cache for every layer, stacked like the model's own layers."""
    shape = (config.num_layers, batch_size, num_slots, config.num_kv_heads, config.head_dim)
    return KVCache(
        jnp.zeros(shape, dtype),
        jnp.zeros(shape, dtype),
        jnp.zeros((config.num_layers, batch_size), jnp.int32),
    )


def _write(
    slots: Float[Array, "B S K H"], new: Float[Array, "B T K H"], starts: Int[Array, " B"]
) -> Float[Array, "B S K H"]:
    def write_row(row: Array, update: Array, start: Array) -> Array:
        # Dropped, not shifted: the padding of a prompt may reach past the last slot.
        return row.at[start + jnp.arange(update.shape[0])].set(update, mode="drop")

    return jax.vmap(write_row)(slots, new, starts)
