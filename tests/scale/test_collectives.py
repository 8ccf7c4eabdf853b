import pytest

from codling.scale.collectives import Collective, Kind, by_kind

FOUR = (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (Kind.ALL_GATHER, 750),
        (Kind.REDUCE_SCATTER, 750),
        (Kind.ALL_REDUCE, 1500),
        (Kind.ALL_TO_ALL, 750),
        (Kind.PERMUTE, 1000),
    ],
)
def test_a_ring_of_four_passes_three_quarters_on(kind: Kind, sent: float) -> None:
    collective = Collective(kind, 1000, FOUR, times=3)
    assert collective.fast_bytes == 3 * sent
    assert collective.slow_bytes == 0


def test_between_slices_a_chip_carries_its_own_part_only() -> None:
    collective = Collective(Kind.ALL_REDUCE, 1000, FOUR, num_slices=2)
    assert collective.fast_bytes == 1500
    assert collective.slow_bytes == 2 * (1000 / 4) * 1 / 2


def test_sums_by_kind() -> None:
    gathered, reduced = Collective(Kind.ALL_GATHER, 1000, FOUR), Collective(Kind.ALL_REDUCE, 1000, FOUR, times=2)
    assert by_kind([reduced, gathered, gathered]) == {Kind.ALL_GATHER: (2, 1500, 0), Kind.ALL_REDUCE: (2, 3000, 0)}
