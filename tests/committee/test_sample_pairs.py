"""Pairs are of different answers, by different members where there are two, and no answer is in two of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codling.artifact.workspace import SilentReporter, Workspace
from codling.committee.candidates import PAIRS_FILE, read_candidates
from codling.committee.draw_prompts import TRAIN_FILE
from codling.committee.sample_pairs import SamplePairsConfig, draw_pairs, run_sample_pairs
from codling.committee.sampled_answers import SampledAnswer
from codling.committee.task_prompts import TaskPrompt, read_task_prompts, write_task_prompts
from codling.errors import UserError
from codling.posttrain.preferences import are_equal
from codling.posttrain.rollout import RolloutConfig
from codling.recipes.tiny import tiny
from codling.tokenizer.messages import Message
from tests.committee.made_committee import ask
from tests.conftest import TinyBuild

PROMPT = ask("3 + 4?", expected="7")
WORDS = ("one", "two", " two ", "three", None)
CONFIG = tiny().alignment.server_rounds[0].pairs


def said(member: str, text: str | None) -> SampledAnswer:
    return SampledAnswer(member, [], None if text is None else Message(role="assistant", content=text))


def draw(answers: Sequence[SampledAnswer], count: int = 9, seed: int = 0) -> list[tuple[tuple[str, str], list[str]]]:
    pairs = draw_pairs(PROMPT, answers, count, np.random.default_rng(seed))
    return [(pair.members, [answer.content or "" for answer in pair.answers]) for pair in pairs]


answers_of_three = st.lists(st.builds(said, st.sampled_from("abc"), st.sampled_from(WORDS)), max_size=12)


@given(answers_of_three, st.integers(1, 4), st.integers(0, 9))
def test_pairs_are_what_they_promise(answers: list[SampledAnswer], count: int, seed: int) -> None:
    pairs = draw_pairs(PROMPT, answers, count, np.random.default_rng(seed))
    given_by = {(answer.member, answer.message.content) for answer in answers if answer.message is not None}
    used = [answer for pair in pairs for answer in pair.answers]
    for pair in pairs:
        assert pair.prompt == PROMPT
        assert {(member, answer.content) for member, answer in zip(pair.members, pair.answers, strict=True)} <= given_by
    assert not any(are_equal(one, other) for place, one in enumerate(used) for other in used[:place])
    num_different = len({(text or "").strip() for _, text in given_by})
    assert len(pairs) <= min(count, num_different // 2)
    assert pairs or num_different < 2
    assert draw_pairs(PROMPT, answers, count, np.random.default_rng(seed)) == pairs


@pytest.mark.parametrize("seed", range(8))
def test_members_are_compared_with_each_other_where_there_are_two(seed: int) -> None:
    answers = [said("a", f"a{number}") for number in range(5)] + [said("b", "b0")]
    assert any(set(members) == {"a", "b"} for members, _ in draw(answers, 3, seed))
    [(members, _)] = draw([said("a", "x"), said("a", "y"), said("b", "x")], 1, seed)
    assert members in {("a", "a"), ("a", "b"), ("b", "a")}
    assert draw([said("a", "x"), said("b", "y")], 2, seed)[0][0] in {("a", "b"), ("b", "a")}


def test_a_lone_member_is_compared_with_itself_and_equal_answers_with_nothing() -> None:
    assert [members for members, _ in draw([said("a", "x"), said("a", "y")])] == [("a", "a")]
    assert draw([said("a", "x"), said("b", "x "), said("b", None)]) == []


def run(
    tiny_build: TinyBuild,
    path: Path,
    config: SamplePairsConfig,
    prompts: Sequence[TaskPrompt] | None = None,
    seed: int = 0,
) -> dict[str, object]:
    inputs = tiny_build.inputs(committee="server_round1_committee", prompts="task_prompts", tokenizer="tokenizer")
    path.mkdir()
    if prompts is not None:
        (path / "prompts").mkdir()
        write_task_prompts(path / "prompts" / TRAIN_FILE, prompts)
        inputs["prompts"] = inputs["prompts"]._replace(path=path / "prompts")
    return run_sample_pairs(config, inputs, Workspace("pairs", path, SilentReporter()), jax.random.key(seed))


def test_a_rounds_pairs_are_of_its_committee_and_its_prompts(tiny_build: TinyBuild) -> None:
    for number in (1, 2):
        artifact = tiny_build.artifacts[f"server_round{number}_pairs"]
        pairs, metrics = read_candidates(artifact.path / PAIRS_FILE), artifact.manifest.metrics
        members = (
            {"server_sft"}
            if number == 1
            else set(tiny_build.artifacts["server_round1_committee"].manifest.metrics["members"])
        )
        assert {name for pair in pairs for name in pair.members} <= members
        known = {prompt.id for prompt in read_task_prompts(tiny_build.artifacts["task_prompts"].path / TRAIN_FILE)}
        assert {pair.prompt.id for pair in pairs} <= known
        assert metrics["num_pairs"] == len(pairs) > 0
        assert sum(metrics["num_by_member"].values()) == 2 * len(pairs)
        assert metrics["num_answers"] == len(members) * CONFIG.rollout.num_answers * metrics["num_prompts"]


def test_a_prompt_that_fills_the_context_is_left_out_and_counted(tiny_build: TinyBuild, tmp_path: Path) -> None:
    pool = read_task_prompts(tiny_build.artifacts["task_prompts"].path / TRAIN_FILE)[:8]
    endless = ask("why? " * 1_100, expected="7")
    found = run(tiny_build, tmp_path / "a", CONFIG, [endless, *pool])
    assert (found["num_prompts"], found["num_prompts_without_room"]) == (8, 1)
    pairs = read_candidates(tmp_path / "a" / PAIRS_FILE)
    assert endless.id not in {pair.prompt.id for pair in pairs}
    again = run(tiny_build, tmp_path / "b", CONFIG, [endless, *pool])
    assert (again, read_candidates(tmp_path / "b" / PAIRS_FILE)) == (found, pairs)
    with pytest.raises(UserError, match="none of 1 prompts leaves room for an answer"):
        run(tiny_build, tmp_path / "c", CONFIG, [endless])


def test_a_round_without_a_pair_says_so(tiny_build: TinyBuild, tmp_path: Path) -> None:
    """Of one token no answer is whole, as it would have to be its own end."""
    short = replace(CONFIG, rollout=RolloutConfig(num_answers=2, max_answer_tokens=1, batch_size_prompts=8))
    with pytest.raises(
        UserError, match="pairs: no prompt got two different whole answers; raise temperature or num_ans"
    ):
        run(tiny_build, tmp_path / "a", short)


@pytest.mark.parametrize("change", ["num_prompts", "pairs_per_prompt"])
def test_asking_for_nothing_is_refused(change: str) -> None:
    with pytest.raises(ValueError, match="must be >= 1"):
        replace(CONFIG, **{change: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [-0.5, float("inf"), float("nan")])
def test_a_temperature_that_cannot_be_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="it must be at least 0, and finite"):
        replace(CONFIG, temperature=temperature)
