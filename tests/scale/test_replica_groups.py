import pytest

from codling.scale.replica_groups import read_groups, read_pairs

COLUMNS = ((0, 4), (1, 5), (2, 6), (3, 7))
ROWS = ((0, 1, 2, 3), (4, 5, 6, 7))


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,4},{1,5},{2,6},{3,7}}, dimensions={0}", COLUMNS),
        ("replica_groups=[2,4]<=[8], dimensions={0}", ROWS),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", COLUMNS),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}, dimensions={1}", ROWS),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", COLUMNS),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}", ((0, 2, 4, 6), (1, 3, 5, 7))),
        ("replica_groups=mesh['a'=8] {'a':(1)2}", COLUMNS),
        ("replica_groups=mesh['a'=8] {'a':(2)4}", ROWS),
        ("replica_groups={}", (tuple(range(8)),)),
        ("dimensions={0}", (tuple(range(8)),)),
    ],
)
def test_every_notation_names_the_same_groups(text: str, groups: object) -> None:
    assert read_groups(f"%operand), channel_id=3, {text}", 8) == groups


def test_an_unknown_notation_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown notation"):
        read_groups("replica_groups=circle(8)", 8)


def test_pairs_without_those_that_stay() -> None:
    assert read_pairs("source_target_pairs={{0,0},{1,2},{2,1}}, x") == ((1, 2), (2, 1))
