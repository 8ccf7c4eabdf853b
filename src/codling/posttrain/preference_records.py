"""How the records of published preference sets read: one function a set, record in, verdict out.

Every verdict here is the set's own; where a rule of ours turned ratings into a verdict, its function says so.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from codling.posttrain.set_records import ROLES, LeftOut, Record, Records, each, split_turns, with_input


class Verdict(NamedTuple):
    """What a record says: two answers in words to one prompt, the number of the better one, and the record's name."""

    turns: Sequence[dict[str, Any]]
    answers: tuple[str, str]
    better: int
    item: str


def read_chosen(record: Record) -> Verdict:
    """Read a prompt in words, the chosen answer, the rejected one (KTO mix; HHH has turns in its later prompts)."""
    turns = split_turns(f"\n\nHuman: {record['prompt']}")
    return Verdict(turns, (record["chosen"], record["rejected"]), 0, str(record.get("subset", "")))


def read_plain_prompt(record: Record) -> Verdict:
    """Read the same where the prompt is one message, whatever is written in it."""
    return Verdict(_one(record["prompt"]), (record["chosen"], record["rejected"]), 0, "")


def read_stackexchange(record: Record) -> Verdict:
    """Read votes: the chosen post has at least two more. The item leads to the posts, as their license asks."""
    item = f"{record['site']}/{record['question_id']} answers {record['chosen_id']}, {record['rejected_id']}"
    return Verdict(_one(record["prompt"]), (record["chosen"], record["rejected"]), 0, item)


def read_sharegpt(record: Record) -> Verdict:
    """Read `conversations` of `from` and `value`, then `chosen` and `rejected`."""
    turns = [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in record["conversations"]]
    return Verdict(turns, (record["chosen"], record["rejected"]), 0, "")


def read_oasst(record: Record) -> Verdict:
    """Read a path through a conversation tree, a better-ranked reply and the lowest-ranked one."""
    turns = [{"role": ROLES[turn["role"]], "content": turn["text"]} for turn in record["conversation"]]
    return Verdict(turns, (record["chosen"], record["rejected"]), 0, "")


def read_hh(record: Record) -> Verdict | LeftOut:
    """Read two dialogues that are the same but for their last turn, the assistant's."""
    chosen, rejected = split_turns(record["chosen"]), split_turns(record["rejected"])
    if chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        return LeftOut.BROKEN_DIALOGUE
    if chosen[:-1] != rejected[:-1]:
        return LeftOut.PROMPTS_DIFFER
    return Verdict(chosen[:-1], (chosen[-1]["content"], rejected[-1]["content"]), 0, "")


def read_llmbar(record: Record) -> Verdict:
    """Read two outputs and the number, 1 or 2, of the one that follows the instruction."""
    return Verdict(
        _one(record["input"]), (record["output_1"], record["output_2"]), _second(record["label"]), record["subset"]
    )


def read_pandalm(record: Record) -> Verdict | LeftOut:
    """Read three votes (0 tie, 1, 2); what at least two of the three say counts.

    A few answers in the set's file are the JSON value true, where a model wrote some word for it: these are not text.
    """
    votes = [record[f"annotator{number}"] for number in (1, 2, 3)]
    vote = max(set(votes), key=votes.count)
    if vote == 0 or votes.count(vote) < 2:
        return LeftOut.TIE
    turns = _one(with_input(record["instruction"], record["input"]))
    return Verdict(turns, (record["response1"], record["response2"]), _second(vote), str(record["idx"]))


def read_vicuna(record: Record) -> Verdict | LeftOut:
    """Read two scores of GPT-4. It saw each pair in one order only, so that its liking for the first is in them."""
    if record["score_1"] == record["score_2"]:
        return LeftOut.TIE
    item = f"question {record['question_id']}, {record['model_1']} and {record['model_2']}"
    better = int(record["score_2"] > record["score_1"])
    return Verdict(_one(record["prompt"]), (record["answer_1"], record["answer_2"]), better, item)


def read_xstest(records: Records) -> Iterator[Verdict | LeftOut]:
    """Pair the full answers to a prompt with the full refusals of it, in the order of the file. A rule of ours.

    A safe prompt is better answered, an unsafe one (its type begins with `contrast`) better refused. Completions that
    refuse in part, or that are one too many of their kind, are left out.
    """
    by_prompt: dict[str, list[Record]] = {}
    for record in each(dict, "xstest_labelled_completions")(records):
        by_prompt.setdefault(record["id"], []).append(record)
    for item, completions in by_prompt.items():
        answered, refused = (
            [one["completion"] for one in completions if one["final_label"] == label]
            for label in ("1_full_compliance", "2_full_refusal")
        )
        better = int(completions[0]["type"].startswith("contrast"))
        pairs = list(zip(answered, refused, strict=False))
        for pair in pairs:
            yield Verdict(_one(completions[0]["prompt"]), pair, better, item)
        yield from [LeftOut.UNPAIRED] * (len(completions) - 2 * len(pairs))


def _one(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _second(number: int) -> int:
    if number not in (1, 2):
        raise ValueError(f"verdict {number!r}, expected 1 or 2")
    return number - 1
