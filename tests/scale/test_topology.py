import importlib.util

import pytest

from codling.errors import UserError
from codling.scale.machine import parse_machine
from codling.scale.topology import coordinates_of, links_of_group, tpu_devices


def test_hosts_are_squares_of_four() -> None:
    places = coordinates_of(parse_machine("tpu-v4:16"))
    assert places[:4] == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]
    assert places[4] == (0, 0, 1)
    assert len(set(places)) == 16
    assert coordinates_of(parse_machine("tpu-v5e:16"))[4] == (2, 0)
    assert coordinates_of(parse_machine("gpu-h100:16"))[:3] == [(0,), (1,), (2,)]


@pytest.mark.parametrize(
    ("group", "links"),
    [
        (slice(0, 4), 2.0),  # a host: two open lines of two
        (slice(0, None), 6.0),  # everything: three closed rings
        (slice(0, None, 4), 2 / 2 + 2 / 2 + 2),  # one chip a host: links shared with three other groups in two axes
        (slice(0, 1), 1.0),
    ],
)
def test_links_on_a_torus(group: slice, links: float) -> None:
    machine = parse_machine("tpu-v4:64")
    assert links_of_group(machine, coordinates_of(machine)[group]) == pytest.approx(links)


def test_gpus_reach_each_other_at_full_speed() -> None:
    machine = parse_machine("gpu-h100:8")
    assert links_of_group(machine, coordinates_of(machine)[:2]) == 1.0


def test_without_libtpu_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'codling\[tpu\]'"):
        tpu_devices(parse_machine("tpu-v4:4"))
