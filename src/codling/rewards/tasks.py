"""How answers to each skill's examples are judged, as checks: the same rule as the skill's own `score`, as data."""

from codling.errors import UserError
from codling.rewards.check import Check, read_check
from codling.rewards.format import FormatCheck
from codling.rewards.number import NumberCheck
from codling.rewards.text import TextCheck
from codling.rewards.tool_call import ToolCallCheck
from codling.skills.arithmetic import Arithmetic
from codling.skills.constraints import Words
from codling.skills.intents import Intents
from codling.skills.numbers import last_number
from codling.skills.skill import Example
from codling.skills.story_answers import StoryAnswers
from codling.skills.tool_calls import ToolCalls

ANY_TEXT = FormatCheck(constraints=(Words(minimum=1),))
"""Where no call is due any text is right, as the skill has it: a reward that must not be maximized alone."""


def check_of(example: Example) -> Check:
    """Make the check of an example: its own where it has one, else its skill's.

    Errors: `UserError` for a skill whose answers no check can judge.
    """
    if example.check is not None:
        return read_check(example.check, source=f"check of '{example.request}'")
    target = example.target
    if example.skill == Arithmetic.name and (number := last_number(target.text)) is not None:
        return NumberCheck(expected=str(number))
    if example.skill == ToolCalls.name and target.tool_calls:
        return ToolCallCheck(name=target.tool_calls[0]["name"], arguments=target.tool_calls[0]["arguments"])
    if example.skill == ToolCalls.name and example.category == "no_tool":
        return ANY_TEXT
    if example.skill in (ToolCalls.name, StoryAnswers.name, Intents.name) and target.text:
        return TextCheck(expected=target.text)
    raise UserError(f"no check for the {example.category} example of the skill '{example.skill}'; give the example one")
