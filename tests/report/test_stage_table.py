from pathlib import Path

from codling.artifact.stage import Artifact
from codling.report.stage_table import num_tokens, stage_rows
from tests.report.conftest import ADAPTED
from tests.report.sample_rounds import add_rounds


def test_rows_follow_the_recipe_with_their_inputs_by_name(inputs: dict[str, Artifact]) -> None:
    rows = stage_rows(inputs)
    assert list(rows) == list(inputs)
    assert rows["device_distill"].inputs == {"tokens": "tokens", "model": "device_prune", "teacher": "server_core"}
    assert (rows["server_sft"].lane, rows["device_sft"].lane, rows["measure"].lane) == ("server", "device", "both")


def test_changes_are_of_text_and_of_skills_where_measured(inputs: dict[str, Artifact]) -> None:
    rows = stage_rows(inputs)
    assert [(c.of, c.before, c.after, c.verdict) for c in rows["device_sft"].changes] == [
        ("text", 4.1, 4.2, "worse"),
        ("skills", 3.1, 0.6, "better"),
    ]
    assert [rows[name].aim for name in ("device_sft", "device_recover", "tokens")] == [
        rows["device_sft"].changes[1],
        rows["device_recover"].changes[0],
        None,
    ]
    assert rows["server_core"].changes[0].change == 4.222 - 8.111
    assert rows["tokenizer"].changes == ()


def test_palettization_is_measured_by_its_recovery(inputs: dict[str, Artifact]) -> None:
    rows = stage_rows(inputs)
    assert [(c.before, c.after) for c in rows["device_compress"].changes] == [(4.2, 4.4), (0.6, 0.8)]
    assert [(c.before, c.after) for c in rows["device_recover"].changes] == [(4.4, 4.25), (0.8, 0.65)]


def test_a_feature_adapter_is_for_its_skill(inputs: dict[str, Artifact]) -> None:
    rows = stage_rows(inputs)
    for name in ADAPTED:
        row = rows[f"device_adapt_{name}"]
        assert row.changes == ((name, 0.65, 0.525),)
        assert row.aim == row.changes[0]


def test_a_corpus_is_not_training(inputs: dict[str, Artifact]) -> None:
    assert num_tokens({"num_tokens": {"stories": {"train": 10}}}) == 0
    assert stage_rows(inputs)["tokens"].num_tokens == 0


def test_every_stage_of_a_round_has_a_row(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 1, 1)
    rows = stage_rows(inputs)
    assert list(rows) == list(inputs)
    assert rows["server_round1_dpo"].inputs == {"start": "server_round1_rs"}
    assert rows["server_round1_mdloo"].num_tokens == 0
    # Rejection sampling is fine-tuning: it is for the skills.
    aim = rows["server_round1_rs"].aim
    assert aim is not None
    assert (aim.of, aim.before, aim.after) == ("skills", 0.5, 0.45)
