from itertools import pairwise

import pytest

from codling.engine.overflow import check_keep, drop_middle
from codling.errors import UserError


@pytest.mark.parametrize("length", [1, 9, 19])
def test_what_fits_stays(length: int) -> None:
    assert drop_middle(range(length), 20, 3) == (list(range(length)), 0)


@pytest.mark.parametrize("length", range(20, 100, 7))
@pytest.mark.parametrize("keep", [0, 3, 9])
def test_the_first_and_the_newest_half_stay(length: int, keep: int) -> None:
    ids, num_dropped = drop_middle(range(length), 20, keep)
    assert 10 <= len(ids) < 20
    assert num_dropped % 10 == 0
    assert ids == [*range(keep), *range(keep + num_dropped, length)]


def test_the_place_of_the_cut_stays_while_a_conversation_grows() -> None:
    cuts = [drop_middle(range(length), 20, 3) for length in range(20, 30)]
    assert {num_dropped for _, num_dropped in cuts} == {10}
    assert all(later.ids[: len(earlier.ids)] == earlier.ids for earlier, later in pairwise(cuts))


@pytest.mark.parametrize("keep", [-1, 10, 30])
def test_more_first_tokens_than_half_the_context_are_refused(keep: int) -> None:
    with pytest.raises(UserError, match=f"{keep} first tokens"):
        check_keep(keep, 20)
