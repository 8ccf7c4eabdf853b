"""Conversations around the three calendar tools, one maker for each category of `tool_calls`.

Every argument that a follow-up takes from an earlier turn is copied from there, with the letters it had.
"""

import random

from codling.skills import small_talk, tool_requests, tool_slots
from codling.skills.grammar import Utterance, as_typed, say
from codling.skills.lexicon import listed
from codling.skills.skill import Message, Split, assistant, calls, tool_result, user
from codling.skills.tool_requests import Request

AGAIN = "[the same|same thing|the same thing|do that|do the same|same] [again |]{on}{date}[, too|, please|.|||]"
THAT_DAY = "[and|also|then] {title} at {time} [that day|the same day|on that day|as well][.|||]"
OF_IT = "[and |please |]remind me [of it|of that|about it|about that|of this|] {when}[ please|, please|.|||]"
A_REMINDER_OF_IT = "[and |please |]set a reminder [for it|for that|] {when}[ please|, please|.|||]"
AND_TO = "[and|also|and also|oh, and] to {title}[ please|.|||]"
WHEN_IS_IT = "When is it?"
WHEN_TO_REMIND = "When should I remind you?"
FAILURES = listed("no network, calendar is full, access denied, no such day, not signed in, server is down")
SINGLE_MAKERS = (tool_requests.event, tool_requests.reminder, tool_requests.listing)
SINGLE_SHARES = (0.45, 0.4, 0.15)
"""Share of each kind among the first requests; ours."""


def _single(split: Split, rng: random.Random) -> list[Message]:
    (make,) = rng.choices(SINGLE_MAKERS, SINGLE_SHARES)
    return _called(make(split, rng))


def _called(request: Request) -> list[Message]:
    return [user(request.text), calls(request.name, request.arguments)]


def _done(request: Request) -> list[Message]:
    """A request that was carried out and confirmed."""
    return [*_called(request), tool_result("ok"), assistant(_confirm(request))]


def _confirm(request: Request) -> str:
    title = request.arguments["title"]
    return f"Added: {title}." if request.name == "create_event" else f"I will remind you: {title}."


def _confirmation(split: Split, rng: random.Random) -> list[Message]:
    draw = rng.random()
    if draw < 0.3:
        return _listed(tool_requests.listing(split, rng), split, rng)
    request = (tool_requests.event if draw < 0.6 else tool_requests.reminder)(split, rng)
    if draw > 0.9:
        reason = rng.choice(FAILURES)
        return [
            *_called(request),
            tool_result(f"error: {reason}"),
            assistant(f"That did not work: {reason}."),
        ]
    return _done(request)


def _listed(request: Request, split: Split, rng: random.Random, num_events: int | None = None) -> list[Message]:
    """A question for a day's events, and the answer read out of what the tool returned."""
    number = rng.choice((0, 1, 1, 2)) if num_events is None else num_events
    events = [f"{tool_slots.event_title(split, rng).value} at {tool_slots.time(rng)}".lower() for _ in range(number)]
    answer = f"You have {' and '.join(events)}." if events else "You have nothing planned."
    return [*_called(request), tool_result("; ".join(events) or "none"), assistant(answer)]


def _no_tool(split: Split, rng: random.Random) -> list[Message]:
    draw = rng.random()
    if draw < 0.15:
        return [user(tool_requests.event_without_details(split, rng).text), assistant(WHEN_IS_IT)]
    if draw < 0.3:
        return [user(tool_requests.reminder_without_time(split, rng).text), assistant(WHEN_TO_REMIND)]
    if draw < 0.4:
        before = _done((tool_requests.event if draw < 0.35 else tool_requests.reminder)(split, rng))
        text, answer = small_talk.thanks(split, rng)
        return [*before, user(text), assistant(answer)]
    text, answer = small_talk.exchange(split, rng)
    return [user(text), assistant(answer)]


def _follow_up(split: Split, rng: random.Random) -> list[Message]:
    makers = (_remind_of_it, _remind_of_it, _remind_of_listed, _same_again, _that_day, _and_to, _asked_back)
    return rng.choice(makers)(split, rng)


def _follow(before: list[Message], said: Utterance, name: str, arguments: dict[str, str]) -> list[Message]:
    return [*before, user(said.text), calls(name, tool_requests.ordered(arguments))]


def _draw(pattern: str, values: dict[str, str], rng: random.Random) -> Utterance:
    return as_typed(say(pattern, values, rng), rng)


def _remind_of_it(split: Split, rng: random.Random) -> list[Message]:
    """An event, then "remind me of it an hour before"."""
    first = tool_requests.event(split, rng)
    said = _draw(rng.choice((OF_IT, A_REMINDER_OF_IT)), {"when": tool_slots.lead_time(rng)}, rng)
    arguments = {"title": first.arguments["title"], "when": said.said("when")}
    return _follow(_done(first), said, "create_reminder", arguments)


def _remind_of_listed(split: Split, rng: random.Random) -> list[Message]:
    """A day's only event read out, then "remind me of it an hour before"."""
    before = _listed(tool_requests.listing(split, rng), split, rng, num_events=1)
    title = str(before[-2]["content"]).rsplit(" at ", 1)[0]
    said = _draw(OF_IT, {"when": tool_slots.lead_time(rng)}, rng)
    return _follow(before, said, "create_reminder", {"title": title, "when": said.said("when")})


def _same_again(split: Split, rng: random.Random) -> list[Message]:
    """An event, then "the same again on friday"."""
    first = tool_requests.event(split, rng)
    on, date = tool_slots.day(split, rng)
    said = _draw(AGAIN, {"on": on, "date": date}, rng)
    return _follow(_done(first), said, "create_event", {**first.arguments, "date": said.said("date")})


def _that_day(split: Split, rng: random.Random) -> list[Message]:
    """An event on some day, then another one "that day"."""
    first = tool_requests.event(split, rng)
    while "date" not in first.arguments:
        first = tool_requests.event(split, rng)
    values = {"title": tool_slots.event_title(split, rng).value, "time": tool_slots.time(rng)}
    said = _draw(THAT_DAY, values, rng)
    arguments = {"title": said.said("title"), "date": first.arguments["date"], "time": said.said("time")}
    return _follow(_done(first), said, "create_event", arguments)


def _and_to(split: Split, rng: random.Random) -> list[Message]:
    """A reminder, then "and to buy milk"."""
    first = tool_requests.reminder(split, rng)
    said = _draw(AND_TO, {"title": tool_slots.task(split, rng)}, rng)
    arguments = {"title": said.said("title"), "when": first.arguments["when"]}
    return _follow(_done(first), said, "create_reminder", arguments)


def _asked_back(split: Split, rng: random.Random) -> list[Message]:
    """A request that left open when, the question for it, and the answer."""
    if rng.random() < 0.5:
        first, question = tool_requests.event_without_details(split, rng), WHEN_IS_IT
        on, date = tool_slots.day(split, rng)
        values = {"on": on, "date": date, "time": tool_slots.time(rng)}
        said = _draw(rng.choice(("{on}{date} at {time}[|.]", "at {time} {on}{date}[|.]")), values, rng)
        arguments = {"date": said.said("date"), "time": said.said("time")}
    else:
        first, question = tool_requests.reminder_without_time(split, rng), WHEN_TO_REMIND
        said = _draw("{when}[|.|, please]", {"when": tool_slots.reminder_time(split, rng)}, rng)
        arguments = {"when": said.said("when")}
    before = [user(first.text), assistant(question)]
    return _follow(before, said, first.name, {**first.arguments, **arguments})


MAKERS = {"single": _single, "follow_up": _follow_up, "confirmation": _confirmation, "no_tool": _no_tool}
"""How a conversation of each category is drawn; its last message is the target."""
