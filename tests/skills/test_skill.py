import json
from collections.abc import Sequence

import pytest

from codling.errors import UserError
from codling.skills.skill import (
    Answer,
    Example,
    Guesser,
    Score,
    Skill,
    Split,
    assistant,
    calls,
    category_scores,
    draw_of_split,
    mean_score,
    plain,
    random_for,
    similarity,
    tool_result,
    user,
)
from codling.skills.story_answers import StoryAnswers
from codling.skills.tool_calls import ToolCalls


class Echo(Skill):
    name = "echo"

    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        return [say(str(number), "odd" if number % 2 else "even") for number in range(count)]

    def score(self, answer: Answer, example: Example) -> Score:
        return Score(answer.text == example.target.text, 0.5)

    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        return {"copy": lambda example: Answer(example.request), "silence": lambda example: Answer()}


def say(text: str, category: str = "") -> Example:
    return Example((user(text), assistant(text)), (), "echo", category)


def test_prompt_and_target_part_the_conversation() -> None:
    messages = (user("a"), calls("f", {"x": "1"}), tool_result("ok"), assistant("done"))
    example = Example(messages, (), "any", "")
    assert (*example.prompt, messages[-1]) == messages
    assert example.request == "a"
    assert example.target == Answer("done")
    assert example._replace(messages=messages[:2]).target == Answer("", ({"name": "f", "arguments": {"x": "1"}},))


def test_baselines_are_mean_scores_of_the_guesses() -> None:
    examples = Echo().examples("train", 5, 0)
    assert Echo().baselines(examples, examples) == {"copy": 1.0, "silence": 0.0}
    answers = [Answer("0"), Answer("0"), Answer("2"), Answer("0"), Answer("0")]
    assert mean_score(Echo(), answers, examples) == (0.4, 0.5, 5)
    by_category = category_scores(Echo(), answers, examples)
    assert list(by_category) == ["even", "odd"]
    assert by_category["even"] == pytest.approx((2 / 3, 0.5, 3))


def test_random_streams_differ_by_name_split_and_seed_only() -> None:
    keys: list[tuple[str, Split, int]] = [("a", "train", 0), ("b", "train", 0), ("a", "heldout", 0)]
    draws = [random_for(*key).random() for key in (*keys, ("a", "train", 1))]
    assert len(set(draws)) == len(draws)
    assert random_for("a", "train", 0).random() == draws[0]


def test_texts_are_compared_without_case_and_full_stop() -> None:
    assert plain("  In the  Park.") == plain("in the park")
    assert plain("park") != plain("parks")
    assert similarity("abcd", "abcd") == 1
    # difflib's measure: twice the matching characters by the sum of both lengths.
    assert similarity("abcd", "abxy") == pytest.approx(2 * 2 / 8)


def test_scores_need_one_answer_for_each_example() -> None:
    with pytest.raises(UserError, match="1 answers for 2 examples"):
        mean_score(Echo(), [Answer()], Echo().examples("train", 2, 0))
    with pytest.raises(UserError, match="0 examples"):
        mean_score(Echo(), [], [])
    with pytest.raises(UserError, match="at least one training example"):
        Echo().baselines([], Echo().examples("heldout", 2, 0))


@pytest.mark.parametrize("skill", [ToolCalls(new_words=False), StoryAnswers(new_words=False)], ids=lambda s: s.name)
def test_without_new_words_a_held_out_prompt_is_still_never_a_training_prompt(skill: Skill) -> None:
    train = {json.dumps(example.prompt) for seed in (0, 1) for example in skill.examples("train", 800, seed)}
    heldout = {json.dumps(example.prompt) for seed in (0, 1) for example in skill.examples("heldout", 200, seed)}
    assert heldout
    assert not train & heldout


def test_about_a_tenth_of_all_prompts_is_held_out() -> None:
    numbers = iter(range(10_000))
    drawn = [
        draw_of_split("heldout", lambda: [user(str(next(numbers))), assistant("ok")], lambda drawn: drawn[:-1])
        for _ in range(100)
    ]
    assert 600 < int(drawn[-1][0]["content"]) < 1500
