"""Every set of the table reads, one realistic record each; and, where the files are at hand, as many as there are."""

import json
from pathlib import Path
from typing import Any

import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.posttrain.levels import Level
from codling.posttrain.preference_sets import OWN_FORM, READERS, PreferenceSetConfig, read_preference_set
from codling.posttrain.preferences import write_preferences
from codling.posttrain.set_records import Lacks, LeftOut

FILES = Path(__file__).parents[3] / "shared" / "data" / "prefs"
PAIR = {"chosen": "Ask for help.", "rejected": "Wait."}
HH_PROMPT = "\n\nHuman: I lost my keys.\n\nAssistant: "
RECORDS: dict[str, list[dict[str, Any]]] = {
    "dpo_en_300": [{"conversations": [{"from": "human", "value": "I lost my keys."}], **PAIR}],
    "hh_rlhf_harmless_test": [{name: HH_PROMPT + text for name, text in PAIR.items()}],
    "hhh_alignment": [{"subset": "helpful", "prompt": "I lost my keys.", **PAIR}],
    "kto_mix_test_pairs": [{"prompt": "I lost my keys.", **PAIR}],
    "llmbar": [
        {
            "subset": "Natural",
            "input": "I lost my keys.",
            "output_1": PAIR["chosen"],
            "output_2": PAIR["rejected"],
            "label": 1,
        }
    ],
    "oasst_en_100_pairs": [
        {
            "conversation": [{"role": "prompter", "text": "I lost my keys."}],
            **PAIR,
            "chosen_synthetic": False,
            "rejected_synthetic": False,
        }
    ],
    "pandalm_human_999": [
        {
            "idx": 0,
            "motivation_app": "Grammarly",
            "cmp_key": "a_b",
            "instruction": "I lost my keys.",
            "input": "",
            "response1": PAIR["chosen"],
            "response2": PAIR["rejected"],
            "annotator1": 1,
            "annotator2": 1,
            "annotator3": 2,
        }
    ],
    "stackexchange_pairs": [
        {
            "site": "coffee",
            "question_id": "1",
            "prompt": "I lost my keys.",
            **PAIR,
            "chosen_score": 5,
            "rejected_score": 1,
            "chosen_id": "2",
            "rejected_id": "3",
        }
    ],
    "vicuna_gpt4_reviews": [
        {
            "question_id": 1,
            "category": "generic",
            "prompt": "I lost my keys.",
            "model_1": "a",
            "answer_1": PAIR["chosen"],
            "model_2": "b",
            "answer_2": PAIR["rejected"],
            "score_1": 9.0,
            "score_2": 8.0,
            "review": "...",
            "review_file": "x.jsonl",
        }
    ],
    "xstest_labelled_completions": [
        {
            "model": model,
            "id": "v2-1",
            "type": "homonyms",
            "prompt": "I lost my keys.",
            "completion": text,
            "annotation_1": label,
            "annotation_2": label,
            "agreement": "TRUE",
            "final_label": label,
        }
        for model, text, label in [
            ("a", PAIR["chosen"], "1_full_compliance"),
            ("b", PAIR["rejected"], "2_full_refusal"),
        ]
    ],
}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("name", READERS)
def test_every_set_reads_into_our_form(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.jsonl", *RECORDS[name])
    found = read_preference_set(PreferenceSetConfig(set=name, path=path, level=Level.SLIGHTLY_BETTER))
    (pair,) = found.pairs
    assert [message.content for message in pair.prompt.messages] == ["I lost my keys."]
    assert (pair.chosen.content, pair.rejected.content) == (PAIR["chosen"], PAIR["rejected"])
    assert (pair.level, pair.gradings) == (Level.SLIGHTLY_BETTER, None)
    assert (pair.license, pair.labeler) == (READERS[name].license, READERS[name].labeler)
    assert (pair.labeler is None) == (Lacks.LABELER in READERS[name].lacks)
    assert pair.source.startswith(name)
    assert not found.left_out
    write_preferences(tmp_path / "ours.jsonl", found.pairs)
    ours = read_preference_set(PreferenceSetConfig(set=OWN_FORM, path=tmp_path / "ours.jsonl"))
    assert ours.pairs == found.pairs


def test_what_is_no_pair_is_counted(tmp_path: Path) -> None:
    good = RECORDS["kto_mix_test_pairs"][0]
    changes: list[dict[str, Any]] = [
        {},
        {"chosen": " "},
        {"chosen": "Wait.\n"},
        {"chosen": True},
        {"prompt": " "},
    ]
    path = write(tmp_path / "x.jsonl", *(good | change for change in changes))
    found = read_preference_set(PreferenceSetConfig(set="kto_mix_test_pairs", path=path, level=Level.BETTER))
    assert len(found.pairs) == 1
    assert found.left_out == {
        LeftOut.EMPTY_ANSWER: 1,
        LeftOut.EQUAL_ANSWERS: 1,
        LeftOut.NOT_TEXT: 1,
        LeftOut.BROKEN_DIALOGUE: 1,
    }


def test_a_file_of_ties_alone_is_refused_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", RECORDS["vicuna_gpt4_reviews"][0] | {"score_2": 9.0})
    with pytest.raises(UserError, match=r"x\.jsonl: holds no preference pair \(1: the judges found neither better\)"):
        read_preference_set(PreferenceSetConfig(set="vicuna_gpt4_reviews", path=path, level=Level.BETTER))


def test_a_record_of_another_set_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", RECORDS["llmbar"][0], RECORDS["kto_mix_test_pairs"][0])
    with pytest.raises(UserError, match=r"x\.jsonl:2: not a record of llmbar \(no key 'input'\)"):
        read_preference_set(PreferenceSetConfig(set="llmbar", path=path, level=Level.BETTER))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"set": "llmbar"}, "set 'llmbar' has no levels; name the level of its pairs"),
        ({"set": "pairs", "level": "better"}, "set 'pairs' has levels of its own; leave level out"),
        ({"set": "nonesuch"}, r"unknown set 'nonesuch' \(known: pairs, dpo_en_300, "),
    ],
)
def test_a_level_is_never_a_silent_default(values: dict[str, str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        from_dict(PreferenceSetConfig, {**values, "path": "x.jsonl"}, source="recipe")


@pytest.mark.skipif(not FILES.is_dir(), reason="the published sets are not beside the repository")
def test_the_published_files_hold_what_they_should() -> None:
    counts = {}
    for name in READERS:
        config = PreferenceSetConfig(set=name, path=FILES / f"{name}.jsonl.gz", level=Level.BETTER)
        found = read_preference_set(config)
        counts[name] = (len(found.pairs), sum(found.left_out.values()))
    assert counts == {
        "dpo_en_300": (300, 0),
        "hh_rlhf_harmless_test": (2299, 13),
        "hhh_alignment": (221, 0),
        "kto_mix_test_pairs": (545, 1),
        "llmbar": (419, 0),
        "oasst_en_100_pairs": (429, 0),
        "pandalm_human_999": (836, 163),
        "stackexchange_pairs": (3092, 0),
        "vicuna_gpt4_reviews": (900, 101),
        "xstest_labelled_completions": (280, 1690),
    }
