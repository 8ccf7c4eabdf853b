"""The continued stage goes on from the model that it is given."""

from tests.conftest import TinyBuild


def test_it_starts_where_the_stage_before_ended(tiny_build: TinyBuild) -> None:
    for side, before in (("server", "server_core"), ("device", "device_distill")):
        start = tiny_build.artifacts[f"{side}_continued"].manifest.metrics["heldout_before"]
        assert start == tiny_build.artifacts[before].manifest.metrics["heldout_after"]
