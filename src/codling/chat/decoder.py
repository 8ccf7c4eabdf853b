"""What a conversation wants of whatever runs the model: one sequence, continued token by token."""

from collections.abc import Generator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from codling.tokenizer.imported import TextTokenizer

Drawn = Generator[int, None, None]
"""Tokens as they come; closing it ends the work on them."""


class Proposals(NamedTuple):
    """How many tokens were proposed for an answer by speculation, and how many of them it kept."""

    proposed_tokens: int
    accepted_tokens: int


@runtime_checkable
class Decoder(Protocol):
    """One sequence of a model. The same calls and seed draw the same tokens."""

    @property
    def context_length_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""

    @property
    def proposals(self) -> Proposals:
        """Of the last answer."""

    def check_fits(self, prompt: Sequence[int]) -> None:
        """Errors: `UserError` if the prompt leaves no room for even one token of an answer."""

    def run(self, prompt: Sequence[int], max_new_tokens: int, stop_ids: Sequence[int]) -> Drawn:
        """Draw tokens after `prompt` up to and with a stop token, the limit, or the end of the context.

        Errors: `UserError` from `check_fits`.
        """


class Opened(NamedTuple):
    """A bundle that can be talked to."""

    tokenizer: TextTokenizer
    decoder: Decoder
    identity: str
    """Base and adapter, as replies name them."""
