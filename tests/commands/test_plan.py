import json
from pathlib import Path

import pytest

from tests.command_line import name_of, refused, succeeded


def test_plan_for_gpus_needs_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(succeeded(capsys, "plan", "device_3b", "--on", "gpu-h200:64", "--search", "--json"))
    assert told["fits"] is True
    assert told["step_s"] == told["layouts"][0]["step_s"]
    shown = succeeded(capsys, "plan", "mini:device", "--on", "gpu-h100:8", "--mesh", "data=8", "--search")
    assert "mini:device on gpu-h100:8" in shown
    assert "utilization" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["plan", "server_80b", "--on", "tpu-v4:8"], "unknown size or recipe 'server_80b' (known: sizes"),
        (["plan", "device_3b", "--on", "tpu-v9:8"], "unknown machine 'tpu-v9' (known: tpu-v4"),
        (["plan", "device_3b", "--on", "tpu-v4:6"], "machine 'tpu-v4:6': no slice of tpu-v4 has 6 chips"),
        (["plan", "device_3b"], "Missing option '--on'; see codling plan --help"),
        (["plan", "device_3b", "--on", "gpu-h100:8", "--mesh", "model=8"], "mesh 'model=8': write it as data=8,"),
        (["plan", "device_3b", "--on", "gpu-h100:8", "--mesh", "data=4"], "mesh data 4 x fsdp 1"),
        (["plan", "device_3b", "--on", "gpu-h100:16", "--mesh", "tensor=16"], "mesh: tensor = 16 does not divide num_"),
        (["plan", "device_3b", "--on", "gpu-h100:8", "--remat", "all"], "unknown rematerialization 'all' (known: "),
        (["plan", "device_3b", "--on", "gpu-h100:8", "--batch-rows", "0"], "Invalid value for '--batch-rows'"),
        (["plan", "device_3b", "--on", "tpu-v4:2x8", "--mesh", "fsdp=16"], "mesh: data 1 is not a multiple of the 2"),
    ],
    ids=name_of,
)
def test_bad_input(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], line: str) -> None:
    assert refused(capsys, folder, *arguments).startswith(line)
