from pathlib import Path

import pytest

from codling.bench.engine_figures import engine_figures
from codling.bench.engine_log import Key, Row
from codling.bench.figure import Figure
from tests.bench.engine_tiny import CONFIG, tiny_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("figures")


def figures(place: Path, *rows: Row) -> list[Figure]:
    run = tiny_run(place, [])
    return engine_figures(run._replace(small=run.bundle), rows)


def generation(peer: str, ours: float, theirs: float, size_tokens: int = 0) -> Row:
    return Row(Key("generation", 2, size_tokens, f"llama.cpp {peer}"), "tokens/s", (ours, 0.0, 99.0), (theirs,) * 3)


def test_each_type_has_its_goal_and_the_fastest_one_more(place: Path) -> None:
    slow, fast, first = figures(
        place, generation("Q3_K_S", 30, 10), generation("IQ4_NL", 30, 20), generation("Q4_0", 30, 15)
    )
    assert [(one.ratio, one.goal, one.met) for one in (slow, fast, first)] == [
        (3.0, 3.0, True),
        (1.5, 1.8, False),
        (2.0, 2.0, True),
    ]
    assert "its fastest" in fast.name
    assert "its fastest" not in slow.name + first.name


def test_the_fastest_type_keeps_a_higher_goal_of_its_own(place: Path) -> None:
    one, _ = figures(place, generation("Q4_0", 30, 15), generation("Q8_0", 30, 10))
    assert one.goal == 2.0


def test_the_fastest_is_another_at_another_length(place: Path) -> None:
    found = figures(
        place,
        generation("Q8_0", 30, 10, 0),
        generation("Q4_1", 30, 11, 0),
        generation("Q8_0", 30, 10, 99),
        generation("Q4_1", 30, 9, 99),
    )
    assert ["its fastest" in one.name for one in found] == [False, True, True, False]


def test_the_share_of_the_bandwidth_counts_weights_and_cache(place: Path) -> None:
    weights_bytes = (tiny_run(place, []).bundle / "model.safetensors").stat().st_size
    cache_bytes = 50 * 2 * 2 * (32 + 4)
    *_, share = figures(
        place,
        Row(Key("bandwidth", 2), "GB/s", (10.0,)),
        Row(Key("generation", 2, 50), "tokens/s", (1e3, 3e3)),
        Row(Key("generation", 1, 50), "tokens/s", (1.0,)),
    )
    assert share.value == pytest.approx(2e3 * (weights_bytes + cache_bytes) / 1e9)
    assert (share.peer_value, share.goal) == (10.0, 0.8)


def test_limits_are_met_from_below(place: Path) -> None:
    start, swap, divergence = figures(
        place,
        Row(Key("start", 2), "s", (0.5,)),
        Row(Key("adapter-swap", 2), "ms", (2.0,)),
        Row(Key("divergence", 1), "nats/token", (1e-4,)),
    )
    assert [(one.ratio, one.met) for one in (start, swap)] == [(2.0, True), (0.5, False)]
    assert divergence.ratio == pytest.approx(10)


def test_memory_is_next_to_weights_cache_and_a_little(place: Path) -> None:
    weights_bytes = (tiny_run(place, []).bundle / "model.safetensors").stat().st_size
    (memory,) = figures(place, Row(Key("memory", 2, 10), "GB", (0.1,)))
    assert memory.peer_value == pytest.approx((weights_bytes + 10 * 2 * 2 * 36 + 150e6) / 1e9)
    assert memory.met


def test_the_others(place: Path) -> None:
    prompt, first, adapter, sessions, instructions, small = figures(
        place,
        Row(Key("prompt", 2, 8, "llama.cpp Q4_0"), "tokens/s", (20.0,), (10.0,)),
        Row(Key("first-token", 2, 5, "llama.cpp Q4_0"), "ms", (10.0,), (30.0,)),
        Row(Key("adapter", 2), "tokens/s", (9.5,), (10.0,)),
        Row(Key("sessions", 2), "tokens/s", (30.0,), (10.0,)),
        Row(Key("instructions", 1), "instructions", (1e6,)),
        Row(Key("small-generation", 1, 0, "transformers"), "tokens/s", (8.0,), (2.0,)),
    )
    assert (prompt.ratio, prompt.goal, prompt.met) == (2.0, 2.0, True)
    assert (first.ratio, first.goal) == (3.0, None)
    assert (adapter.ratio, adapter.met) == (0.95, True)
    assert (sessions.ratio, sessions.met) == (3.0, False)
    assert sessions.name.startswith(f"{CONFIG.num_sessions} sessions")
    assert (instructions.value, instructions.unit, instructions.goal) == (1.0, "million", None)
    assert small.ratio == 4.0


def test_rows_without_a_peer_make_no_comparison(place: Path) -> None:
    assert figures(place, Row(Key("prompt", 2, 8), "tokens/s", (20.0,))) == []
