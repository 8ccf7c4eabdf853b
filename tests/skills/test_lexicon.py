import pytest

from codling.skills import lexicon
from codling.skills.grammar import HELDOUT_EVERY, expansions

LISTS = {name: value for name, value in vars(lexicon).items() if isinstance(value, tuple)}


@pytest.mark.parametrize("name", LISTS)
def test_values_are_single_and_clean(name: str) -> None:
    values = LISTS[name]
    assert len(values) == len({value.casefold() for value in values})
    assert len(values) >= 2 * HELDOUT_EVERY
    assert all(value and value == " ".join(value.split()) and expansions(value) == [value] for value in values)


def test_no_first_name_is_in_two_lists() -> None:
    assert not set(lexicon.GIRLS) & set(lexicon.BOYS)


def test_lists_are_read_across_lines() -> None:
    assert lexicon.listed("\n  a b,\n   c\n") == ("a b", "c")
