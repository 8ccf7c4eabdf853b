from codling.artifact.stage import Artifact
from codling.report.adapters_box import ADAPTERS_BOX, with_adapters_as_one
from codling.report.stage_table import stage_rows
from codling.report.titles import is_feature_adapter
from tests.report.conftest import drop_features


def test_all_adapters_are_one_row_between_recovery_and_the_bundle(inputs: dict[str, Artifact]) -> None:
    rows = with_adapters_as_one(stage_rows(inputs))
    assert not [name for name in rows if is_feature_adapter(name)]
    box = rows[ADAPTERS_BOX]
    assert (box.title, box.full_title, box.lane) == ("3 feature adapters", "3 feature adapters (device)", "device")
    assert (box.num_tokens, box.wall_time_s, box.changes) == (12_000, 30.0, ())
    assert box.inputs == {"tokens": "tokens", "model": "device_recover"}
    assert set(rows["device"].inputs.values()) == {"device_recover", "tokenizer", ADAPTERS_BOX}


def test_one_adapter_keeps_its_name(inputs: dict[str, Artifact]) -> None:
    for name in ("intents", "short_answers"):
        del inputs[f"device_adapt_{name}"]
    box = with_adapters_as_one(stage_rows(inputs))[ADAPTERS_BOX]
    assert (box.title, len(box.changes)) == ("Adapter: tool calls", 1)


def test_a_build_without_adapters_is_left_as_it_is(inputs: dict[str, Artifact]) -> None:
    drop_features(inputs)
    rows = stage_rows(inputs)
    assert with_adapters_as_one(rows) == rows
