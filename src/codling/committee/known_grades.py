"""The grades that follow from an answer's check. What a check does not tell is left out, never guessed.

truthfulness           from the score of number, text and tool call checks: 1 is truthful, 0 untruthful, else partly
instruction following  from the score of format, tool call and unit test checks, likewise. A wrong number may be the
                       answer to what was asked, so that those checks say nothing here
verbosity              where a format check says how long the text may be at most: within its bounds is the right length
harmlessness           nobody checks it

The rules are ours; the report's grades come from people.
"""

from collections.abc import Iterator
from dataclasses import replace

from codling.posttrain.gradings import Gradings, InstructionFollowing, Truthfulness, Verbosity
from codling.rewards.check import Check, WeightedCheck, score
from codling.rewards.format import FormatCheck
from codling.skills.constraints import Sentences, Words
from codling.skills.skill import Answer

TELL_TRUTHFULNESS = frozenset({"number", "text", "tool_call"})
TELL_INSTRUCTION_FOLLOWING = frozenset({"format", "tool_call", "python_tests"})


def known_grades(check: Check, answer: Answer, whole: float) -> Gradings:
    """Grade an answer whose score by `check` is `whole`. The parts of a weighted check are scored once more each."""
    scores = [(part, whole if part is check else score(part, answer)) for part in _parts(check)]
    truthful = _grade([s for part, s in scores if part.kind in TELL_TRUTHFULNESS])
    followed = _grade([s for part, s in scores if part.kind in TELL_INSTRUCTION_FOLLOWING])
    return Gradings(
        truthfulness=None if truthful is None else list(Truthfulness)[truthful],
        instruction_following=None if followed is None else list(InstructionFollowing)[followed],
        verbosity=None if answer.tool_calls else _verbosity(check, answer.text),
    )


def _parts(check: Check) -> Iterator[Check]:
    """All that a check is made of."""
    if isinstance(check, WeightedCheck):
        for part in check.parts:
            yield from _parts(part.check)
    else:
        yield check


def _grade(scores: list[float]) -> int | None:
    """The lowest grade where all scores are 0, the highest where all are 1, else the one between."""
    if not scores:
        return None
    return 0 if max(scores) == 0 else 2 if min(scores) == 1 else 1


def _verbosity(check: Check, text: str) -> Verbosity | None:
    limits = [
        constraint
        for part in _parts(check)
        if isinstance(part, FormatCheck)
        for constraint in part.constraints
        if isinstance(constraint, Words | Sentences)
    ]
    # A minimum alone says nothing of a text that is long enough: half a rule would grade short texts only.
    if all(limit.maximum is None for limit in limits):
        return None
    found = {_side(limit, text) for limit in limits} - {Verbosity.RIGHT_LENGTH}
    if len(found) > 1:
        return None
    return found.pop() if found else Verbosity.RIGHT_LENGTH


def _side(limit: Words | Sentences, text: str) -> Verbosity:
    if limit.met(text):
        return Verbosity.RIGHT_LENGTH
    is_short = limit.maximum is None or replace(limit, minimum=0).met(text)
    return Verbosity.TOO_SHORT if is_short else Verbosity.TOO_LONG
