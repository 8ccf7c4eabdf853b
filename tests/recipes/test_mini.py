"""The mini recipe is the quickstart's graph at its own sizes, with proofreading."""

from codling.model.count import count_parameters
from codling.recipes.mini import mini
from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import stages


def test_sizes_are_those_promised() -> None:
    recipe = mini()
    assert 105e6 < count_parameters(recipe.server_model).total < 115e6
    assert 45e6 < count_parameters(recipe.device_model).total < 55e6


def test_same_graph_as_the_quickstart() -> None:
    assert [stage.name for stage in stages(mini())] == [stage.name for stage in stages(quickstart())]


def test_proofreading_is_drawn_and_mixed() -> None:
    recipe = mini()
    assert "proofread" in recipe.conversations.num_train_by_skill
    assert "proofread" in recipe.server_sft.mixture.share_by_kind
    assert "proofread" in recipe.device_sft.mixture.share_by_kind


def test_fine_tuning_has_the_reports_dropout_and_the_quickstarts_none() -> None:
    for make, rate in ((mini, 0.1), (quickstart, 0.0)):
        assert (make().server_sft.dropout, make().device_sft.dropout) == (rate, rate)
