"""Answers of the committee's members to prompts: in tokens as they were drawn, and as messages where they are any."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from codling.committee.committee import Member
from codling.errors import UserError
from codling.model.generate import Sampling
from codling.model.transformer import Transformer
from codling.posttrain.prompts import is_empty
from codling.posttrain.rollout import RolloutConfig, roll_out
from codling.tokenizer.assistant_turn import parse_assistant
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.messages import Message


class SampledAnswer(NamedTuple):
    """One answer of a member."""

    member: str
    ids: list[int]
    message: Message | None
    """None: it is empty, was cut off, or holds a call that cannot be read; such an answer teaches nothing."""


def sample_answers(
    members: Sequence[Member],
    config: RolloutConfig,
    prompts: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    key: PRNGKeyArray,
    mesh: Mesh,
    temperature: float,
) -> list[list[SampledAnswer]]:
    """Every member answers every prompt config.num_answers times: by prompt, the members' answers in their order."""
    found: list[list[SampledAnswer]] = [[] for _ in prompts]
    for number, member in enumerate(members):
        draws = jax.random.fold_in(key, number)
        rollouts = roll_out(config, member.model, prompts, draws, mesh, Sampling(temperature=temperature))
        for row in range(len(rollouts.answers)):
            ids = rollouts.ids(row)
            found[row // config.num_answers].append(SampledAnswer(member.about.name, ids, read_message(tokenizer, ids)))
    return found


def read_message(tokenizer: Tokenizer, ids: Sequence[int]) -> Message | None:
    """The message that a whole answer is; none where it is not one."""
    turn = parse_assistant(tokenizer, ids)
    if not turn.is_finished or turn.malformed_calls:
        return None
    content = turn.content if turn.content or not turn.tool_calls else None
    message = Message(role="assistant", content=content, tool_calls=turn.tool_calls)
    return None if is_empty(message) else message


def room_for(prompts: Sequence[Sequence[int]], config: RolloutConfig, models: Sequence[Transformer]) -> list[int]:
    """The places of prompts that leave room for an answer in the context of every model.

    Errors: `UserError` where none does.
    """
    context = min(model.config.context_length_tokens for model in models)
    places = [place for place, prompt in enumerate(prompts) if len(prompt) + config.max_answer_tokens <= context]
    if not places:
        raise UserError(
            f"none of {len(prompts)} prompts leaves room for an answer of {config.max_answer_tokens} tokens in a "
            f"context of {context}; lower max_answer_tokens"
        )
    return places
