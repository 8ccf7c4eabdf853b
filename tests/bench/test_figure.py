import pytest

from codling.bench.figure import compare


@pytest.mark.parametrize(("value", "met"), [(12.9, False), (13.0, True), (20.0, True)])
def test_a_goal_is_met_from_its_ratio_on(value: float, met: bool) -> None:
    figure = compare("speed", value, "tokens/s", 10.0, goal=1.3)
    assert figure.ratio == value / 10.0
    assert figure.met is met


def test_without_a_goal_nothing_is_met_or_missed() -> None:
    assert compare("speed", 3.0, "tokens/s", 2.0) == ("speed", 3.0, "tokens/s", 2.0, 1.5, None, None)
