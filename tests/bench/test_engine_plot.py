from codling.bench.engine_log import Key, Row
from codling.bench.engine_plot import draw_engine_rows


def test_the_picture_has_all_sides_of_the_most_threads() -> None:
    rows = [
        Row(Key(group, threads, size, f"llama.cpp {name}"), "tokens/s", (3.0,), (2.0,))
        for group in ("generation", "prompt")
        for threads in (1, 2)
        for size in (512, 4096)
        for name in ("Q4_0", f"only_{threads}")
    ]
    drawn = draw_engine_rows(rows)
    assert drawn == draw_engine_rows(rows)
    text = drawn.decode()
    for part in ("codling", "llama.cpp Q4_0", "llama.cpp only_2", "4,096", "2 threads"):
        assert part in text
    assert "only_1" not in text


def test_no_rows_are_an_empty_picture() -> None:
    assert b"<svg" in draw_engine_rows([])
