"""The tiny recipe has every stage of the quickstart, and a second round of the server."""

from dataclasses import replace

from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny


def test_same_graph_as_the_quickstart() -> None:
    """With as many rounds: `tiny` has two where what differs between a first and a second is to be tested."""
    recipe, like = tiny(), quickstart()
    num_rounds = {"server_rounds": 2, "device_rounds": 1}
    assert {side: len(getattr(recipe.alignment, side)) for side in num_rounds} == num_rounds
    [one] = like.alignment.server_rounds
    like = replace(like, alignment=replace(like.alignment, server_rounds=(one, one)))
    assert [(stage.name, stage.kind, stage.inputs) for stage in stages(recipe)] == [
        (stage.name, stage.kind, stage.inputs) for stage in stages(like)
    ]
