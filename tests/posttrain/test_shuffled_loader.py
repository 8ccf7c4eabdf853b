from collections import Counter
from collections.abc import Sequence

from codling.posttrain.shuffled_loader import ShuffledLoader
from codling.train.course import Loader


def build(seed: int = 0) -> ShuffledLoader[int, list[int]]:
    def as_list(items: Sequence[int]) -> list[int]:
        return list(items)

    return ShuffledLoader(range(7), 3, seed, as_list)


def test_every_item_comes_once_each_time_through_in_another_order() -> None:
    loader = build()
    drawn = [item for _ in range(7) for item in next(loader)]
    assert Counter(drawn) == dict.fromkeys(range(7), 3)
    times = [drawn[:7], drawn[7:14], drawn[14:]]
    assert len({tuple(one) for one in times}) == 3
    assert all(sorted(one) == list(range(7)) for one in times)


def test_a_state_brings_back_the_very_batches() -> None:
    loader, other = build(), build()
    next(loader)
    state = loader.get_state()
    rest = [next(loader) for _ in range(4)]
    other.set_state(state)
    assert [next(other) for _ in range(4)] == rest
    assert next(build(seed=1)) != next(build())
    assert isinstance(loader, Loader)
    assert iter(loader) is loader
