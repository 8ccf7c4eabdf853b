"""Preference pairs on their way into training: spelled, those that are too long left out, in batches of whole pairs."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from codling.errors import UserError
from codling.posttrain.pair_rows import EncodedPair, PairBatch, encode_pair
from codling.posttrain.preferences import PreferencePair
from codling.posttrain.shuffled_loader import ShuffledLoader
from codling.tokenizer.encode import Tokenizer
from codling.train.loop import LoopConfig
from codling.train.sharding import data_mesh

SpelledPair = tuple[EncodedPair, PreferencePair]
BuildBatch = Callable[[Sequence[SpelledPair]], PairBatch]


class LaidOutPairs(NamedTuple):
    """Pairs that fit the rows."""

    pairs: list[SpelledPair]
    num_too_long: int
    """Pairs that did not."""


def lay_out(pairs: Sequence[PreferencePair], tokenizer: Tokenizer, row_length_tokens: int) -> LaidOutPairs:
    """Spell the pairs, and leave out those that are too long."""
    spelled = [(encode_pair(tokenizer, pair), pair) for pair in pairs]
    fitting = [(encoded, pair) for encoded, pair in spelled if encoded.length_tokens <= row_length_tokens]
    return LaidOutPairs(fitting, len(spelled) - len(fitting))


def check_rows_of_pairs(loop: LoopConfig) -> None:
    """Refuse, by the `ValueError` that configurations report, a batch that holds half a pair."""
    if loop.batch_size_rows % 2:
        raise ValueError(f"loop.batch_size_rows is {loop.batch_size_rows}; a pair has two rows")


def load_pairs(
    name: str, loop: LoopConfig, laid_out: LaidOutPairs, row_length_tokens: int, seed: int, build_batch: BuildBatch
) -> ShuffledLoader[SpelledPair, PairBatch]:
    """Batches for the training loop. Errors: `UserError` where no pair fits, or where devices would split pairs."""
    if not laid_out.pairs:
        raise UserError(f"{name}: none of {laid_out.num_too_long} pairs fits {row_length_tokens} tokens")
    num_rows = loop.batch_size_rows
    num_devices = data_mesh(num_rows).size if loop.mesh is None else loop.mesh.data * loop.mesh.fsdp
    if num_rows % (2 * num_devices):
        raise UserError(
            f"{name}: loop.batch_size_rows {num_rows} splits pairs between {num_devices} devices; a multiple of "
            f"{2 * num_devices} does not"
        )
    return ShuffledLoader(laid_out.pairs, num_rows // 2, seed, build_batch)
