import pytest

from codling.bench.figure import compare, within


@pytest.mark.parametrize(("value", "met"), [(12.9, False), (13.0, True), (20.0, True)])
def test_a_goal_is_met_from_its_ratio_on(value: float, met: bool) -> None:
    figure = compare("speed", value, "tokens/s", 10.0, goal=1.3)
    assert figure.ratio == value / 10.0
    assert figure.met is met


def test_without_a_goal_nothing_is_met_or_missed() -> None:
    assert compare("speed", 3.0, "tokens/s", 2.0) == ("speed", 3.0, "tokens/s", 2.0, 1.5, None, None)


@pytest.mark.parametrize(("value", "met"), [(0.5, True), (1.0, True), (1.1, False)])
def test_a_limit_is_met_from_below(value: float, met: bool) -> None:
    figure = within("start", value, "s", 1.0)
    assert figure.ratio == 1.0 / value
    assert figure.met is met
    assert within("start", value, "s", 1.0, goal=None).met is None
