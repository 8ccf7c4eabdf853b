"""What happens when prompt and answer do not fit the context: an error, or a part is left out and reported."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from codling.errors import UserError

OnOverflow = Literal["error", "drop_middle"]
"""A prompt that fills the context is refused, and an answer ends with it; or the middle is left out, and it goes on."""


class Fitted(NamedTuple):
    """A sequence that leaves room for an answer."""

    ids: list[int]
    num_dropped: int


def check_keep(keep_first_tokens: int, context_length_tokens: int) -> None:
    """Errors: `UserError` if what is always kept leaves less than half of the context to the newest tokens."""
    if not 0 <= keep_first_tokens < context_length_tokens // 2:
        raise UserError(
            f"{keep_first_tokens} first tokens to keep of a context of {context_length_tokens}: half of it is too many"
        )


def drop_middle(ids: Sequence[int], context_length_tokens: int, keep_first_tokens: int) -> Fitted:
    """Leave out the oldest tokens after the first ones, half a context at a time, as often as needed.

    In whole halves: the same place is cut while a conversation grows by another half, so its turns share a beginning
    that is cached.
    """
    half = context_length_tokens // 2
    # One token of an answer is to fit as well.
    surplus = len(ids) + 1 - context_length_tokens
    num_dropped = max(0, -(-surplus // half) * half)
    return Fitted([*ids[:keep_first_tokens], *ids[keep_first_tokens + num_dropped :]], num_dropped)
