import pytest

from codling.report import formats


@pytest.mark.parametrize(
    ("number", "text"),
    [(950, "950"), (999.4, "999"), (999_600, "1.00 M"), (2_031_000, "2.03 M"), (43_744, "43.7 k"), (2.587e9, "2.59 B")],
)
def test_count_has_three_digits(number: float, text: str) -> None:
    assert formats.count(number).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.03, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3725, "1 h 02 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert formats.duration(seconds).replace("\u00a0", " ") == text


@pytest.mark.parametrize(("size", "text"), [(12, "12 B"), (50_400, "50.4 kB"), (8_124_416, "8.12 MB")])
def test_size(size: float, text: str) -> None:
    assert formats.size(size).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("change", "text", "verdict"),
    [(-0.1234, "−0.123", "better"), (0.02, "+0.020", "worse"), (0.0004, "±0.000", "same"), (-0.004, "−0.004", "same")],
)
def test_a_lower_loss_is_better(change: float, text: str, verdict: str) -> None:
    assert (formats.signed(change), formats.verdict(change)) == (text, verdict)


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100%"), (0.935, "93.5%"), (0.6, "60.0%"), (0.9999, "100.0%"), (-0.003, "−0.3%"), (0.0, "0%")],
)
def test_percent(share: float, text: str) -> None:
    assert formats.percent(share) == text


@pytest.mark.parametrize(
    ("difference", "text"), [(0.0891, "+8.9"), (-0.1, "−10.0"), (0.0002, "±0.0"), (-0.0002, "±0.0"), (1.0, "+100.0")]
)
def test_points(difference: float, text: str) -> None:
    assert formats.points(difference) == text


@pytest.mark.parametrize(("value", "text"), [(0.6, "0.600"), (-1.25, "−1.250")])
def test_reward(value: float, text: str) -> None:
    assert formats.reward(value) == text


@pytest.mark.parametrize(("value", "text"), [(6.1234, "6.12"), (99.994, "99.99"), (340.26, "340.3")])
def test_perplexity(value: float, text: str) -> None:
    assert formats.perplexity(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.05, "0.0500"), (0.00081234, "0.000812"), (0.000012, "1.20e−05"), (1.5, "1.50")]
)
def test_small_nats_keep_three_digits(value: float, text: str) -> None:
    assert formats.nats(value) == text


@pytest.mark.parametrize(("value", "text"), [(1.23, "1.2 ms"), (0.04, "0.0 ms"), (41.6, "42 ms")])
def test_milliseconds(value: float, text: str) -> None:
    assert formats.milliseconds(value).replace("\u00a0", " ") == text


def test_control_characters_are_shown() -> None:
    assert formats.visible("a\x13b\nc") == "a␓b\nc"
