"""The bundles: whole, loadable, and the device's with its adapter on by default."""

from codling.artifact.bundle import NO_ADAPTER, load_bundle
from tests.conftest import TinyBuild


def test_both_bundles_open_from_where_users_find_them(tiny_build: TinyBuild) -> None:
    server, device = (load_bundle(tiny_build.out / name) for name in ("server", "device"))
    assert (server.adapter, device.adapter) == (NO_ADAPTER, "recovery")
    assert server.tokenizer == device.tokenizer
    assert device.identity == f"{tiny_build.artifacts['device'].manifest.id}+recovery"


def test_sizes_are_stated(tiny_build: TinyBuild) -> None:
    server, device = (tiny_build.artifacts[name].manifest.metrics for name in ("server", "device"))
    assert server["size_bytes"] == 4 * server["num_parameters"]
    assert device["size_bytes"] < server["size_bytes"]
    assert device["size_bytes_adapter"] == 2 * device["num_parameters_adapter"]
