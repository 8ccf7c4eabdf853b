import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.posttrain.levels import Level, LevelMargins, LevelProbabilities


def test_the_probabilities_are_the_reports() -> None:
    table = LevelProbabilities()
    assert [table.of(level) for level in Level] == [0.95, 0.85, 0.75, 0.65]


def test_a_recipe_may_choose_others() -> None:
    table = from_dict(LevelProbabilities, {"better": 0.9}, source="x")
    assert table.of(Level.BETTER) == 0.9
    assert [LevelMargins().of(level) for level in Level] == pytest.approx([1, 2 / 3, 1 / 3, 0])


@pytest.mark.parametrize("values", [{"better": 0.7}, {"negligibly_better": 0.4}, {"significantly_better": 1.1}])
def test_probabilities_that_contradict_the_levels_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must not rise"):
        from_dict(LevelProbabilities, values, source="x")


@pytest.mark.parametrize("values", [{"better": 2.0}, {"negligibly_better": -0.5}])
def test_margins_too(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must not rise"):
        from_dict(LevelMargins, values, source="x")
