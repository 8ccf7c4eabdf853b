from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from codling.errors import UserError
from codling.posttrain.pair_data import LaidOutPairs, check_rows_of_pairs, lay_out, load_pairs
from codling.posttrain.prompts import Prompt
from codling.tokenizer.messages import Message
from codling.train.loop import LoopConfig
from codling.train.optimizer import OptimizerConfig
from codling.train.schedule import ScheduleConfig
from tests.conftest import Pair
from tests.posttrain.polite_pairs import draw_pairs

LOOP = LoopConfig(
    num_steps=1, batch_size_rows=4, optimizer=OptimizerConfig(schedule=ScheduleConfig(peak_rate=0.1, warmup_steps=0))
)


def first_answers(pairs: Sequence[Any]) -> Any:
    return [pair.answers for _, pair in pairs]


def test_pairs_that_are_too_long_are_left_out_and_counted(pair: Pair) -> None:
    pairs = draw_pairs(4, 0)
    long = replace(pairs[0], prompt=Prompt(messages=(Message(role="user", content="cat " * 60),)))
    laid_out = lay_out([*pairs, long], pair.tokenizer, 48)
    assert laid_out.num_too_long == 1
    assert [found for _, found in laid_out.pairs] == pairs


def test_batches_hold_whole_pairs(pair: Pair) -> None:
    pairs = draw_pairs(6, 0)
    loader = load_pairs("x", LOOP, lay_out(pairs, pair.tokenizer, 48), 48, 0, first_answers)
    drawn = [answers for _ in range(3) for answers in next(loader)]
    assert sorted(map(str, drawn)) == sorted(str(one.answers) for one in pairs)


def test_no_pair_that_fits_is_an_error() -> None:
    with pytest.raises(UserError, match="rewards: none of 3 pairs fits 48 tokens"):
        load_pairs("rewards", LOOP, LaidOutPairs([], 3), 48, 0, first_answers)


def test_devices_that_would_split_pairs_are_refused(pair: Pair) -> None:
    laid_out = lay_out(draw_pairs(4, 0), pair.tokenizer, 48)
    with pytest.raises(UserError, match="batch_size_rows 6 splits pairs between 2 devices; a multiple of 4 does not"):
        load_pairs("rewards", replace(LOOP, batch_size_rows=6), laid_out, 48, 0, first_answers)


def test_half_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size_rows is 7; a pair has two rows"):
        check_rows_of_pairs(replace(LOOP, batch_size_rows=7))
