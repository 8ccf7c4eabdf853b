"""The check of a skill's example: what the skill's own score asks for, as plain data that travels with a prompt."""

from codling.errors import UserError
from codling.rewards.check import Check, read_check
from codling.rewards.number import NumberCheck
from codling.rewards.text import TextCheck
from codling.rewards.tool_call import ToolCallCheck
from codling.skills.numbers import last_number
from codling.skills.skill import Example

SKILLS_OF_TEXT = ("intents", "story_answers")


def check_of(example: Example) -> Check:
    """How an answer to the example's prompt is judged.

    Errors: `UserError` for an example of a skill whose answers cannot be checked.
    """
    target = example.target
    if example.check is not None:
        return read_check(example.check, source=f"{example.skill}: {example.request}")
    if example.skill == "tool_calls":
        return _call(example)
    if example.skill == "arithmetic":
        return NumberCheck(number=str(last_number(target.text)))
    if example.skill in SKILLS_OF_TEXT:
        return TextCheck(texts=(target.text,))
    raise UserError(f"skill {example.skill}: its answers have no check; give its examples one")


def _call(example: Example) -> Check:
    """A call that is due; words in its place; or, after what a tool returned, the very words."""
    target = example.target
    if target.tool_calls:
        call = target.tool_calls[0]
        return ToolCallCheck(name=call["name"], arguments=call["arguments"], gives_partial_credit=True)
    return ToolCallCheck() if example.category == "no_tool" else TextCheck(texts=(target.text,))
