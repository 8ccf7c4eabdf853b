import jax
import pytest

from codling.errors import UserError
from codling.posttrain.task import Task
from codling.skills.arithmetic import Arithmetic
from codling.skills.formats import Formats
from codling.skills.skill import Example
from codling.tokenizer.special_tokens import END
from tests.conftest import Pair

EXAMPLES = {skill.name: skill.examples("train", 20, 0) for skill in (Arithmetic(), Formats())}


@pytest.fixture(scope="module")
def task(pair: Pair) -> Task:
    return Task(EXAMPLES, {"arithmetic": 3.0, "formats": 1.0}, pair.tokenizer)


def test_the_target_earns_everything_and_silence_nothing(pair: Pair, task: Task) -> None:
    examples: list[Example] = [*EXAMPLES["arithmetic"], *EXAMPLES["formats"]]
    places = list(range(len(examples)))
    right = [[*pair.tokenizer.encode(example.target.text), END.id] for example in examples]
    scores = task.score(places, right)
    assert scores.rewards.tolist() == [1.0] * 40
    assert {name: part.shape for name, part in scores.parts.items()} == {"arithmetic": (20,), "formats": (20,)}
    assert not task.score(places, [[END.id]] * 40).rewards.any()
    assert set(task.score([0], right[:1]).parts) == {"arithmetic"}


def test_prompts_end_where_the_assistant_begins(pair: Pair, task: Task) -> None:
    shown = pair.tokenizer.decode(task.prompts[0], show_special=True)
    assert EXAMPLES["arithmetic"][0].request in shown
    assert shown.endswith("<|assistant|>")


def test_prompts_are_drawn_by_the_shares_of_their_skills(task: Task) -> None:
    chosen = task.choose(1000, jax.random.key(0))
    assert chosen == task.choose(1000, jax.random.key(0)) != task.choose(1000, jax.random.key(1))
    assert sum(place < 20 for place in chosen) / 1000 == pytest.approx(0.75, abs=0.05)
    assert set(chosen) == set(range(40))


def test_a_skill_without_examples_is_named(pair: Pair) -> None:
    with pytest.raises(UserError, match=r"no examples of the skill 'poems' \(there are: arithmetic, formats\)"):
        Task(EXAMPLES, {"poems": 1.0}, pair.tokenizer)


def test_answers_that_cannot_be_checked_are_an_error(pair: Pair) -> None:
    essays = [example._replace(skill="essays", check=None) for example in EXAMPLES["formats"]]
    with pytest.raises(UserError, match="of the skill 'essays'; give the example one"):
        Task({"essays": essays}, {"essays": 1.0}, pair.tokenizer)
