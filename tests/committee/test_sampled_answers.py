"""Members answer in their order, each with draws of its own; what is no message teaches nothing."""

import jax
import pytest

from codling.committee.committee import Member
from codling.committee.prompt_task import encode_prompt
from codling.committee.sampled_answers import read_message, room_for, sample_answers
from codling.errors import UserError
from codling.posttrain.rollout import RolloutConfig
from codling.tokenizer.chat_template import encode_chat
from codling.tokenizer.messages import Message, ToolCall
from codling.tokenizer.special_tokens import END, EOS, TOOL_CALL
from codling.train.sharding import data_mesh
from tests.committee.made_committee import ask, scaled, stand
from tests.conftest import Pair

ASKED = RolloutConfig(num_answers=2, max_answer_tokens=6, batch_size_prompts=2)
USER = Message(role="user", content="hello")


def test_every_member_answers_every_prompt(pair: Pair) -> None:
    """Two members of equal weights, so that only their draws can differ."""
    model = scaled(pair.model, 0.3)
    members = [Member(stand(name), model) for name in ("a", "b")]
    prompts = [encode_prompt(pair.tokenizer, ask(question)) for question in ("one?", "two or three?", "four?")]

    def draw() -> list[list[tuple[str, list[int]]]]:
        found = sample_answers(members, ASKED, prompts, pair.tokenizer, jax.random.key(0), data_mesh(2), 1.0)
        return [[(answer.member, answer.ids) for answer in of_prompt] for of_prompt in found]

    found = draw()
    assert [[member for member, _ in of_prompt] for of_prompt in found] == [["a", "a", "b", "b"]] * 3
    assert all(1 <= len(ids) <= 6 for of_prompt in found for _, ids in of_prompt)
    assert all(of_prompt[0][1] != of_prompt[2][1] for of_prompt in found)
    assert draw() == found


@pytest.mark.parametrize(
    "message",
    [
        Message(role="assistant", content="Yes, of course."),
        Message(role="assistant", tool_calls=(ToolCall(name="add", arguments={"a": 1}),)),
        Message(role="assistant", content="Wait.", tool_calls=(ToolCall(name="now", arguments={}),)),
    ],
)
def test_a_whole_answer_is_the_message_that_was_spelled(pair: Pair, message: Message) -> None:
    start = len(encode_chat(pair.tokenizer, [USER], add_generation_prompt=True).ids)
    ids = encode_chat(pair.tokenizer, [USER, message]).ids[start:]
    assert read_message(pair.tokenizer, ids) == message


def test_empty_cut_off_and_broken_answers_are_no_messages(pair: Pair) -> None:
    encode = pair.tokenizer.encode
    for ids in ([END.id], [EOS.id], [*encode("  "), END.id], encode("cut"), [TOOL_CALL.id, *encode("add("), END.id]):
        assert read_message(pair.tokenizer, ids) is None


def test_room_is_that_of_the_shortest_context(pair: Pair) -> None:
    room = pair.model.config.context_length_tokens - ASKED.max_answer_tokens
    prompts = [[5] * room, [5] * (room + 1), [5]]
    assert room_for(prompts, ASKED, [pair.model]) == [0, 2]
    with pytest.raises(UserError, match="none of 1 prompts leaves room for an answer of 6 tokens in a context of 96"):
        room_for(prompts[1:2], ASKED, [pair.model])
