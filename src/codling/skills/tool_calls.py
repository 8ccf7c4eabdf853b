"""Skill (a): a typed request becomes a calendar or reminder tool call, or a plain answer if none is due.

Categories: `single` (a first request), `follow_up` (it leans on the turns before: "remind me of it an
hour before"), `confirmation` (a short answer to what the tool returned) and `no_tool` (small talk, near
misses, and requests that lack something, which are asked back). Arguments are copied as said; see
`tool_requests`.

Held out: titles, people, tasks and places whose words training never uses, days of the year for questions
that name only a day, and forms of small talk. Patterns, weekdays and times are shared.

The prompt does not list the tools unless `tools_in_prompt` says so: their definitions took 240 tokens of
a 2048-piece vocabulary where the median conversation took 54, and a model with three fixed tools learns
them from the answers.
"""

import json
import random
from collections.abc import Sequence
from typing import Any

from codling.skills.guessers import most_frequent, nearest_request
from codling.skills.skill import (
    Answer,
    Example,
    Guesser,
    Message,
    Score,
    Skill,
    Split,
    ToolCall,
    check_count,
    draw_of_split,
    plain,
    random_for,
    similarity,
)
from codling.skills.tool_dialogues import MAKERS

CATEGORY_SHARES = {"single": 0.4, "follow_up": 0.25, "confirmation": 0.15, "no_tool": 0.2}
"""Share of each category in what `examples` makes; ours."""


def _tool(name: str, description: str, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    properties = {key: {"type": "string"} for key in (*required, *optional)}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description, "parameters": parameters}


TOOLS = (
    _tool("create_event", "Put an event into the calendar.", ["title"], ["date", "time", "place"]),
    _tool("create_reminder", "Remind the user.", ["title", "when"]),
    _tool("list_events", "List the events of a day.", ["date"]),
)


class ToolCalls(Skill):
    """Requests to three tools: `create_event`, `create_reminder`, `list_events`."""

    name = "tool_calls"

    def __init__(self, *, tools_in_prompt: bool = False, new_words: bool = True):
        """With `new_words` a held-out request names what no training request names; without, only the request as a
        whole is new, which is what a model of a million parameters can learn.
        """
        self._tools = TOOLS if tools_in_prompt else ()
        self._new_words = new_words

    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        """Draw each example's category, then a conversation of that category."""
        check_count(self.name, count)
        rng = random_for(self.name, split, seed)
        categories = rng.choices(list(CATEGORY_SHARES), list(CATEGORY_SHARES.values()), k=count)
        return [Example(tuple(self._conversation(c, split, rng)), self._tools, self.name, c) for c in categories]

    def _conversation(self, category: str, split: Split, rng: random.Random) -> list[Message]:
        if self._new_words:
            return MAKERS[category](split, rng)
        return draw_of_split(split, lambda: MAKERS[category]("train", rng), lambda messages: messages[:-1])

    def score(self, answer: Answer, example: Example) -> Score:
        """Exact: the same call with equal arguments; no call where none is due; in a confirmation also
        the same text.

        Partial: the share of name and arguments that are right; where no call is due, the likeness of the
        text.
        """
        target = example.target
        if target.tool_calls:
            return score_calls(answer.tool_calls, target.tool_calls[0])
        if answer.tool_calls:
            return Score(exact=False, partial=0.0)
        said, due = plain(answer.text), plain(target.text)
        return Score(exact=example.category == "no_tool" or said == due, partial=similarity(said, due))

    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        """Never call a tool; the most frequent call of all; the answer to the most similar training
        request.
        """
        calling = [example for example in train if example.target.tool_calls]
        return {
            "never call": lambda example: Answer("Okay."),
            "most frequent call": most_frequent(calling or train),
            "nearest request": nearest_request(train),
        }


def score_calls(made: Sequence[ToolCall], due: ToolCall) -> Score:
    """Judge calls where one call is due. Exact: that call alone, with equal arguments. Partial: the share of name and
    arguments that are right.
    """
    if len(made) != 1 or made[0].get("name") != due["name"]:
        return Score(exact=False, partial=0.0)
    arguments, expected = _arguments(made[0]), due["arguments"]
    keys = arguments.keys() | expected.keys()
    right = sum(key in arguments and arguments[key] == expected.get(key) for key in keys)
    return Score(exact=right == len(keys), partial=(1 + right) / (1 + len(keys)))


def _arguments(call: ToolCall) -> dict[str, Any]:
    """Read a call's arguments; what is no JSON object holds no argument."""
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError:
            return {}
    return arguments if isinstance(arguments, dict) else {}
