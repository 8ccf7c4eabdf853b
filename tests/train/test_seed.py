"""Seeds follow from keys."""

import jax

from codling.train.seed import seed_from


def test_the_same_key_gives_the_same_seed_and_another_key_another() -> None:
    first, again, other = (seed_from(jax.random.key(number)) for number in (1, 1, 2))
    assert first == again != other
    assert 0 <= first < 2**31
