"""The tiny recipe has every stage of the quickstart."""

from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny


def test_same_graph_as_the_quickstart() -> None:
    tiny_graph, quickstart_graph = stages(tiny()), stages(quickstart())
    assert [(stage.name, stage.kind, stage.inputs) for stage in tiny_graph] == [
        (stage.name, stage.kind, stage.inputs) for stage in quickstart_graph
    ]
