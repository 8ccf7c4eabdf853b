import pytest

from codling.bench.engine_run import EngineBenchConfig, bench_shape, cache_bytes_per_token, repeats_of
from codling.errors import UserError
from codling.model.config import named_size


def test_the_shape_has_room_for_the_longest_context() -> None:
    shape, named = bench_shape(EngineBenchConfig()), named_size("device_3b")
    assert shape.context_length_tokens > 32_768
    widened = {"context_length_tokens": 0, "ffn_dim": 8192}
    assert vars(shape) | widened == vars(named) | widened


def test_a_context_is_never_shortened() -> None:
    config = EngineBenchConfig(contexts_tokens=(0,), prompts_tokens=(5,))
    assert bench_shape(config).context_length_tokens == named_size("device_3b").context_length_tokens


def test_every_type_of_the_peer_fits_the_shape() -> None:
    shape = bench_shape(EngineBenchConfig())
    assert shape.ffn_dim == 8192
    assert bench_shape(EngineBenchConfig(size="mini_device")).ffn_dim % 256 == 0


def test_unknown_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="unknown model size 'huge'"):
        bench_shape(EngineBenchConfig(size="huge"))


def test_a_token_in_the_cache_of_the_published_shape() -> None:
    # 26 layers, 8 heads, keys and values: 128 bytes and a scale each.
    assert cache_bytes_per_token(named_size("device_3b")) == 26 * 8 * 2 * (128 + 4)


@pytest.mark.parametrize(
    ("context_tokens", "expected"), [(1, (1, 1)), (512, (1, 512)), (5000, (1, 5000)), (16_384, (32, 512))]
)
def test_long_contexts_are_repeats(context_tokens: int, expected: tuple[int, int]) -> None:
    assert repeats_of(context_tokens) == expected
