"""The tiny recipe has every stage of the quickstart, IPO beside DPO, and a second round of the server."""

from dataclasses import replace

from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny


def test_same_graph_as_the_quickstart() -> None:
    """With as many rounds and methods: `tiny` has two and all where their differences are to be tested."""
    recipe, like = tiny(), quickstart()
    num_rounds = {"server_rounds": 2, "device_rounds": 1}
    assert {side: len(getattr(recipe.alignment, side)) for side in num_rounds} == num_rounds
    [server], [device] = like.alignment.server_rounds, like.alignment.device_rounds
    server, device = replace(server, ipo=server.dpo), replace(device, ipo=device.dpo)
    rounds = replace(like.alignment, server_rounds=(server, server), device_rounds=(device,))
    like = replace(like, alignment=rounds)
    assert [(stage.name, stage.kind, stage.inputs) for stage in stages(recipe)] == [
        (stage.name, stage.kind, stage.inputs) for stage in stages(like)
    ]
