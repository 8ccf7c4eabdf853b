from pathlib import Path

import pytest

from codling.artifact.stage import Artifact
from codling.report.rounds import aligned_side
from codling.report.rounds_box import rounds_name, with_rounds_as_one
from codling.report.stage_table import StageRow, stage_rows
from tests.report.sample_rounds import add_rounds


def rows_of(inputs: dict[str, Artifact], folder: Path, num_server: int, num_device: int) -> dict[str, StageRow]:
    add_rounds(inputs, folder, num_server, num_device)
    return with_rounds_as_one(stage_rows(inputs))


def test_all_rounds_of_a_side_are_one_row(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    rows = rows_of(inputs, tmp_path, 2, 1)
    assert not [name for name in rows if aligned_side(name)]
    server, device = rows["server_rounds"], rows["device_rounds"]
    assert (server.title, device.title) == ("iTeC, 2 rounds", "iTeC, 1 round")
    assert (server.lane, device.lane) == ("server", "device")
    # The first committee, eight stages a round (four of data, three that train, the next committee), and the best
    # member of the last one; 10 s each.
    assert (server.wall_time_s, device.wall_time_s) == (180.0, 100.0)
    # RS and DPO count their tokens, online training its answers.
    assert (server.num_tokens, device.num_tokens) == (4000, 2000)


def test_the_row_stands_between_fine_tuning_and_what_is_shipped(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    rows = rows_of(inputs, tmp_path, 2, 1)
    assert rows["server_rounds"].inputs == {"model": "server_sft"}
    assert rows["device_rounds"].inputs == {"model": "device_sft", "teacher": "server_rounds"}
    assert rows["server"].inputs["model"] == "server_rounds"
    assert rows["device_compress"].inputs["model"] == "device_rounds"
    assert rows["device_recover"].inputs["teacher"] == "device_rounds"


@pytest.mark.parametrize(
    ("num_server", "num_device", "expected"),
    [
        (0, 0, {"server": "server_sft", "device_compress": "device_sft"}),
        (0, 1, {"server": "server_sft", "device_compress": "device_rounds"}),
        (1, 0, {"server": "server_rounds", "device_compress": "device_sft"}),
    ],
)
def test_a_side_without_rounds_ships_its_fine_tuned_model(
    inputs: dict[str, Artifact], tmp_path: Path, num_server: int, num_device: int, expected: dict[str, str]
) -> None:
    rows = rows_of(inputs, tmp_path, num_server, num_device)
    assert {name: rows[name].inputs["model"] for name in expected} == expected
    assert (rounds_name("server") in rows, rounds_name("device") in rows) == (num_server > 0, num_device > 0)
    if num_device:
        assert rows["device_rounds"].inputs["teacher"] == "server_sft"


def test_a_build_that_knows_no_committee_is_left_as_it_is(inputs: dict[str, Artifact]) -> None:
    rows = stage_rows(inputs)
    assert with_rounds_as_one(rows) == rows
