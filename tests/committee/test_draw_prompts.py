"""Prompts are new: no demonstration, no held-out request, none twice; one's own are checked against each other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pytest

from codling.artifact.stage import Artifact
from codling.artifact.workspace import SilentReporter, Workspace
from codling.committee.draw_prompts import (
    TRAIN_FILE,
    VALIDATION_FILE,
    DrawPromptsConfig,
    PromptsStageConfig,
    run_draw_prompts,
    task_prompt,
)
from codling.committee.task_prompts import TaskPrompt, read_task_prompts, write_task_prompts
from codling.data.conversations import ConversationsConfig, load_conversations, run_conversations
from codling.errors import UserError
from codling.rewards.check import score
from codling.skills.arithmetic import Arithmetic
from codling.skills.formats import Formats
from codling.skills.intents import ASSISTANT_INTENTS
from tests.committee.made_committee import ask, leave

CONVERSATIONS = ConversationsConfig(
    num_train_by_skill={"arithmetic": 150, "formats": 150, "intents": 150},
    num_heldout=60,
    intents=ASSISTANT_INTENTS[:2],
)
CONFIG = PromptsStageConfig(
    conversations=CONVERSATIONS,
    prompts=DrawPromptsConfig(num_train_by_skill={"arithmetic": 40, "formats": 30}, num_validation=20),
)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    def write(path: Path) -> None:
        run_conversations(CONVERSATIONS, {}, Workspace("conversations", path, SilentReporter()), KEY)

    return leave(tmp_path_factory.mktemp("store"), "conversations", write, kind="conversations")


class Drawn:
    """What a run of the stage left."""

    def __init__(self, config: PromptsStageConfig, conversations: Artifact, path: Path) -> None:
        path.mkdir(exist_ok=True)
        workspace = Workspace("task_prompts", path, SilentReporter())
        self.metrics = run_draw_prompts(config, {"conversations": conversations}, workspace, KEY)
        self.train, self.validation = (read_task_prompts(path / name) for name in (TRAIN_FILE, VALIDATION_FILE))


@pytest.fixture(scope="module")
def drawn(conversations: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return Drawn(CONFIG, conversations, tmp_path_factory.mktemp("drawn"))


def with_prompts(**changes: Any) -> PromptsStageConfig:
    return replace(CONFIG, prompts=replace(CONFIG.prompts, **changes))


def write_own(path: Path, prompts: Sequence[TaskPrompt]) -> Path:
    write_task_prompts(path, prompts)
    return path


def test_there_are_as_many_as_were_asked_for(drawn: Drawn) -> None:
    for prompts, counts in ((drawn.train, [40, 30]), (drawn.validation, [20, 20])):
        assert [sum(prompt.skill == skill for prompt in prompts) for skill in ("arithmetic", "formats")] == counts
    assert drawn.metrics == {
        "num_train": 70,
        "num_validation": 40,
        "num_own_copies": 0,
        "skills": {
            "arithmetic": {"num_train": 40, "num_validation": 20},
            "formats": {"num_train": 30, "num_validation": 20},
        },
    }


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_none_is_known_from_the_conversations_and_none_comes_twice(
    drawn: Drawn, conversations: Artifact, split: Any
) -> None:
    ids = [prompt.id for prompt in (*drawn.train, *drawn.validation)]
    assert len(set(ids)) == len(ids) == 110
    examples = [one for found in load_conversations(conversations.path, split).values() for one in found]
    known = {task_prompt(example).id for example in examples}
    assert len(known) > 50
    assert not known & set(ids)


def test_the_same_prompts_are_drawn_again_and_others_by_another_seed(
    drawn: Drawn, conversations: Artifact, tmp_path: Path
) -> None:
    again = Drawn(CONFIG, conversations, tmp_path / "again")
    assert (again.train, again.validation) == (drawn.train, drawn.validation)
    assert Drawn(with_prompts(seed=9), conversations, tmp_path / "other").train != drawn.train


def test_a_prompt_knows_how_its_answer_is_checked_and_not_the_answer() -> None:
    for example in (*Arithmetic().examples("train", 5, 3), *Formats().examples("train", 5, 3)):
        prompt = task_prompt(example)
        assert (prompt.skill, prompt.category) == (example.skill, example.category)
        assert [message.role for message in prompt.prompt.messages][-1] == "user"
        assert prompt.check is not None
        assert score(prompt.check, example.target) == 1.0


def test_a_skill_that_has_too_few_is_named(conversations: Artifact, tmp_path: Path) -> None:
    few = with_prompts(num_train_by_skill={"intents": 1_000})
    with pytest.raises(UserError, match=r"the skill 'intents' has \d+ prompts .*, 1020 are wanted; lower num_train"):
        Drawn(few, conversations, tmp_path)
    assert not list(tmp_path.iterdir())


def test_own_prompts_stand_beside_the_skills_and_their_copies_are_counted(
    conversations: Artifact, tmp_path: Path
) -> None:
    train = [ask("one", skill="mine", expected="1"), ask("two", skill="mine"), ask("one", skill="yours")]
    own = {
        "train_path": write_own(tmp_path / "a.jsonl", train),
        "validation_path": write_own(tmp_path / "b.jsonl", [ask("three", skill="mine")]),
    }
    found = Drawn(with_prompts(**own), conversations, tmp_path / "out")
    assert found.train[:2] == train[:2]
    assert len(found.train) == 2 + 70
    assert found.validation[0].prompt.messages[0].content == "three"
    assert found.metrics["num_own_copies"] == 1
    alone = Drawn(with_prompts(num_train_by_skill={}, **own), conversations, tmp_path / "alone")
    assert (len(alone.train), len(alone.validation)) == (2, 1)


def test_own_prompts_that_judge_themselves_are_refused(conversations: Artifact, tmp_path: Path) -> None:
    heldout = task_prompt(load_conversations(conversations.path, "heldout")["formats"][0])
    first, second = ask("one", skill="mine"), ask("two", skill="mine")
    cases = [
        ([first], [second, first], "is among the prompts to learn from too"),
        ([heldout], [second], "is a held-out request of the conversations"),
        ([first], [heldout], "is a held-out request of the conversations"),
    ]
    for train, validation, problem in cases:
        own = {
            "train_path": write_own(tmp_path / "a.jsonl", train),
            "validation_path": write_own(tmp_path / "b.jsonl", validation),
        }
        with pytest.raises(UserError, match=problem):
            Drawn(with_prompts(**own), conversations, tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"seed": 0}, r"prompts\.seed is that of the conversations"),
        ({"num_train_by_skill": {"poems": 3}}, "'poems' is no skill of the conversations"),
        ({"num_train_by_skill": {}}, "there must be prompts to learn from"),
        ({"num_validation": 0}, "num_validation >= 1"),
        ({"train_path": Path("mine.jsonl")}, "train_path and validation_path go together"),
    ],
)
def test_bad_configurations_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        with_prompts(**changes)
