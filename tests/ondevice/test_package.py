"""The bundles: whole, loadable, and the device's with its adapter on by default."""

import equinox as eqx

from codling.artifact.bundle import NO_ADAPTER, adapter_names, load_bundle, with_adapter
from tests.conftest import TinyBuild


def test_both_bundles_open_from_where_users_find_them(tiny_build: TinyBuild) -> None:
    server, device = (load_bundle(tiny_build.out / name) for name in ("server", "device"))
    assert (server.adapter, device.adapter) == (NO_ADAPTER, "recovery")
    assert server.tokenizer == device.tokenizer
    assert adapter_names(device.path) == ["intents", "recovery", "short_answers", "tool_calls"]
    assert device.identity == f"{tiny_build.artifacts['device'].manifest.id}+recovery"


def test_sizes_are_stated(tiny_build: TinyBuild) -> None:
    server, device = (tiny_build.artifacts[name].manifest.metrics for name in ("server", "device"))
    assert server["size_bytes"] == 4 * server["num_parameters"]
    assert device["size_bytes"] < server["size_bytes"]
    assert device["size_bytes_adapter"] == 2 * device["num_parameters_adapter"]


def test_an_adapter_is_swapped_without_reading_the_base_again(tiny_build: TinyBuild) -> None:
    device = load_bundle(tiny_build.out / "device")
    other = with_adapter(device, "intents")
    assert other.base is device.base
    assert other.identity == f"{device.manifest.id}+intents"
    again = load_bundle(tiny_build.out / "device", "intents")
    assert eqx.tree_equal(other.model, again.model)
    assert not eqx.tree_equal(other.model, device.model)
    assert with_adapter(other, NO_ADAPTER).model is device.base
