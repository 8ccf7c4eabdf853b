"""How the next token is drawn from logits.

Draws are made by the native engine (`native/serve/sampler.hpp`), in this order: repetition penalty, mask, temperature,
top-k, top-p, min-p. Chance is a function of seed, position in the sequence and token, and of nothing else: what is
drawn does not depend on what else runs, on what was cached, or on speculation.
"""

from typing import NamedTuple

from codling.engine import _native
from codling.errors import UserError


class Sampling(NamedTuple):
    """The default takes the most likely token."""

    temperature: float = 0.0
    """Divides the logits; 0 takes the most likely token, of equally likely ones the first."""
    top_k: int = 0
    """Draw only from so many of the likeliest tokens; 0 from all."""
    top_p: float = 1.0
    """Draw only from the smallest set of tokens whose probabilities reach top_p (arXiv 1904.09751)."""
    min_p: float = 0.0
    """Draw only from tokens that are at least min_p times as likely as the likeliest (arXiv 2407.01082)."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens of prompt and answer, and multiplies negative ones (arXiv 1909.05858 §4.1)."""
    seed: int = 0
    logprobs: int = 0
    """How many of the best tokens are reported with log-probabilities, beside that of the token drawn; 0 computes none.

    They are those of the model, before temperature and filters, after penalty and mask.
    """

    def to_native(self) -> _native.Sampling:
        """What the engine draws by. Errors: `UserError` for values that no token can be drawn by."""
        if not 0 <= self.seed < 1 << 64:
            raise UserError(f"sampling: seed {self.seed} is not between 0 and 2^64 - 1")
        return _native.Sampling(*self)
