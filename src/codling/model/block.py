"""One layer of the model: two residual updates."""

import equinox as eqx
from jaxtyping import Array, Float

from codling.model.attention import Attention, C
from codling.model.dropout import ATTENTION, FEED_FORWARD, Dropout, drop
from codling.model.feed_forward import FeedForward
from codling.model.norm import RMSNorm
from codling.model.rope import Rotary


class Block(eqx.Module):
    """Pre-norm: x = x + attention(norm(x)); x = x + feed_forward(norm(x))."""

    attention_norm: RMSNorm
    attention: Attention
    feed_forward_norm: RMSNorm
    feed_forward: FeedForward

    def __call__(
        self, x: Float[Array, "B T D"], angles: Rotary, context: C, dropout: Dropout | None = None
    ) -> tuple[Float[Array, "B T D"], C]:
        """Apply the layer; the context comes back extended by this call's keys and values."""
        attended, context = self.attention(context.collect(self.attention_norm(x)), angles, context)
        x = x + drop(context.spread(attended), dropout, ATTENTION)
        update = self.feed_forward(context.collect(self.feed_forward_norm(x)))
        x = x + drop(context.spread(update), dropout, FEED_FORWARD)
        return x, context
