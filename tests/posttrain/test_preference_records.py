"""One record a set, in the shape that the set has."""

import pytest

from codling.posttrain.preference_records import (
    Verdict,
    read_chosen,
    read_hh,
    read_llmbar,
    read_oasst,
    read_pandalm,
    read_plain_prompt,
    read_sharegpt,
    read_stackexchange,
    read_vicuna,
    read_xstest,
)
from codling.posttrain.set_records import LeftOut, Record

ASKED = [{"role": "user", "content": "Why?"}]
CHOSEN_REJECTED = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
PANDALM = {
    "idx": 7,
    "instruction": "Shorten.",
    "input": "A long text.",
    "response1": "A text.",
    "response2": "Text!",
    "annotator1": 2,
    "annotator2": 2,
    "annotator3": 0,
}
VICUNA = {
    "question_id": 3,
    "prompt": "Why?",
    "model_1": "m",
    "answer_1": "So.",
    "model_2": "n",
    "answer_2": "No.",
    "score_1": 8.0,
    "score_2": 9.5,
}
HH = {
    "chosen": "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant: So.",
    "rejected": "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant: No.",
}


def test_chosen_and_rejected() -> None:
    expected = Verdict(ASKED, ("So.", "No."), 0, "")
    assert read_plain_prompt(CHOSEN_REJECTED) == expected
    assert read_chosen({**CHOSEN_REJECTED, "subset": "honest"}) == expected._replace(item="honest")
    turns = read_chosen({**CHOSEN_REJECTED, "prompt": "Hi.\n\nAssistant:  Hello.\n\nHuman: Why?"}).turns
    assert [turn["content"] for turn in turns] == ["Hi.", "Hello.", "Why?"]
    share = {"conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Why?"}]}
    assert [turn["role"] for turn in read_sharegpt({**share, **CHOSEN_REJECTED}).turns] == ["system", "user"]
    tree = {"conversation": [{"role": "prompter", "text": "Why?"}], **CHOSEN_REJECTED}
    assert read_oasst(tree) == expected


def test_votes_keep_the_way_to_their_posts() -> None:
    record = {**CHOSEN_REJECTED, "site": "ai", "question_id": "9", "chosen_id": "10", "rejected_id": "11"}
    assert read_stackexchange(record) == Verdict(ASKED, ("So.", "No."), 0, "ai/9 answers 10, 11")


def test_dialogues_that_part_before_the_last_turn_are_left_out() -> None:
    verdict = read_hh(HH)
    assert isinstance(verdict, Verdict)
    assert [turn["content"] for turn in verdict.turns] == ["Hi.", "Hello.", "Why?"]
    assert verdict.answers == ("So.", "No.")
    assert read_hh({**HH, "rejected": HH["rejected"].replace("Hello", "Ho")}) is LeftOut.PROMPTS_DIFFER
    assert read_hh({key: text + "\n\nHuman: Oh." for key, text in HH.items()}) is LeftOut.BROKEN_DIALOGUE


def test_llmbars_label_counts_from_one() -> None:
    record = {"input": "Why?", "output_1": "So.", "output_2": "No.", "label": 2, "subset": "Natural"}
    assert read_llmbar(record) == Verdict(ASKED, ("So.", "No."), 1, "Natural")
    with pytest.raises(ValueError, match="verdict 3"):
        read_llmbar({**record, "label": 3})


@pytest.mark.parametrize(
    ("votes", "better"),
    [((2, 2, 0), 1), ((1, 2, 1), 0), ((0, 0, 1), None), ((0, 0, 0), None), ((0, 1, 2), None)],
)
def test_two_of_three_votes_decide(votes: tuple[int, int, int], better: int | None) -> None:
    record = PANDALM | {f"annotator{n}": vote for n, vote in enumerate(votes, start=1)}
    verdict = read_pandalm(record)
    if better is None:
        assert verdict is LeftOut.TIE
    else:
        turns = [{"role": "user", "content": "Shorten.\n\nA long text."}]
        assert verdict == Verdict(turns, ("A text.", "Text!"), better, "7")


def test_equal_scores_are_a_tie() -> None:
    assert read_vicuna(VICUNA) == Verdict(ASKED, ("So.", "No."), 1, "question 3, m and n")
    assert read_vicuna({**VICUNA, "score_2": 8.0}) is LeftOut.TIE


def completion(id: str, type: str, label: str, text: str) -> Record:
    return {"id": id, "type": type, "prompt": "Why?", "completion": text, "final_label": label}


def test_safe_prompts_are_better_answered_and_unsafe_ones_refused() -> None:
    records = [
        completion("1", "homonyms", "1_full_compliance", "So."),
        completion("1", "homonyms", "1_full_compliance", "So it is."),
        completion("1", "homonyms", "2_full_refusal", "I won't."),
        completion("2", "contrast_homonyms", "1_full_compliance", "Like this."),
        completion("2", "contrast_homonyms", "2_full_refusal", "Never."),
        completion("2", "contrast_homonyms", "3_partial_refusal", "Well..."),
    ]
    assert list(read_xstest((f"f:{n}", record) for n, record in enumerate(records))) == [
        Verdict(ASKED, ("So.", "I won't."), 0, "1"),
        LeftOut.UNPAIRED,
        Verdict(ASKED, ("Like this.", "Never."), 1, "2"),
        LeftOut.UNPAIRED,
    ]
