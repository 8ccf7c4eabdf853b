"""Requests as people type them, each with the tool call that it asks for; `tool_calls` makes
conversations of them.

Every argument is copied from the request as it was said: "tomorrow" stays "tomorrow". Turning it into a
date needs a clock, and belongs to the program that runs the tool; the model's part is to find what was
said.
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from codling.skills import tool_slots
from codling.skills.grammar import as_typed, say
from codling.skills.skill import Split


class Request(NamedTuple):
    """A request, and the tool call that it asks for."""

    text: str
    name: str
    arguments: dict[str, str]


ARGUMENTS = ("title", "date", "time", "place", "when")

# How a request is put; BODY and, in an event, DETAILS are replaced by a pattern drawn from the lists below.
STATED = ("BODY[|||.|!]", "BODY[|||.|!]", "[hey,|ok,|so|hi,] BODY[||.]")
ASKED = (
    "BODY[|||.|!]",
    "BODY[|||.|!]",
    "[please|hey,|hi,|ok,|I want you to|hi, please] BODY[||.]",
    "BODY[ please|, please|, thanks]",
    "[can|could] you [please |]BODY[||?|?]",
)
QUESTION = ("BODY", "BODY", "[hey,|ok,|hi,] BODY")

EVENT_DETAILS = (
    "{on}{date} at {time}",
    "{on}{date} at {time}",
    "{on}{date} at {time}",
    "{on}{date}[,| from|] {time}",
    "at {time} {on}{date}",
    "{on}{date}",
    "at {time}",
    "{on}{date} at {time} {at}{place}",
    "{at}{place} {on}{date} at {time}",
    "{on}{date} {at}{place}",
)
EVENTS_STATED = (
    "{title} DETAILS",
    "{title} DETAILS",
    "{title}[,|:] DETAILS",
    "[I have|I've got|we have|there is] [{article}|{article}|]{title} DETAILS",
    "[new event|event|calendar]: {title} DETAILS",
    "DETAILS[:|,|] {title}",
    "DETAILS I have [{article}|{article}|]{title}",
)
EVENTS_ASKED = (
    "[add|put|enter|note] [{article}|]{title} DETAILS [on|in|to] [my|the] [calendar|schedule]",
    "[add|put] [{article}|]{title} [on|in|to] [my|the] [calendar|schedule] DETAILS",
    "[schedule|book|plan|add|arrange] [{article}|]{title} DETAILS",
    "[create|make|set up|add] an event [for|called] {title} DETAILS",
)
EVENTS_WITHOUT_DETAILS = (
    "[add|put|enter] [{article}|]{title} [on|in|to] [my|the] [calendar|schedule]",
    "[schedule|book|plan|arrange] [{article}|]{title}",
)
REMINDERS_STATED = (
    "I [need|have|want|must not forget|have] to {title} {when}, remind me",
    "{when} I [have|need] to {title}, remind me",
    "[reminder|note]: {title} {when}",
    "reminder {when}: {title}",
    "don't let me forget to {title} {when}",
)
REMINDERS_ASKED = (
    "remind me to {title} {when}",
    "remind me to {title} {when}",
    "remind me {when} to {title}",
    "[set|create|add|make] a reminder to {title} {when}",
    "[set|create|add|make] a reminder {when} to {title}",
    "[tell|ping|nudge] me {when} to {title}",
)
REMINDERS_OF_EVENTS = ("remind me [of|about] {title} {when}", "remind me {when} [of|about] {title}")
REMINDERS_WITHOUT_TIME = ("remind me to {title}", "[set|create|add|make] a reminder to {title}")
LISTS_QUESTIONED = (
    "what's on my [calendar|schedule] {on}{date}[?|?|]",
    "what do I have {on}{date}[?|?|]",
    "am I [free|busy] {on}{date}[?|?|]",
    "do I have [anything|any plans|any meetings|something] {on}{date}[?|?|]",
    "is there anything on my calendar {on}{date}[?|?|]",
    "how does my [calendar|schedule] look {on}{date}[?|?|]",
)
LISTS_ASKED = ("[show me|tell me|list|read] my [calendar|schedule|plans|events] for {date}",)


def event(split: Split, rng: random.Random) -> Request:
    """Draw a request for a calendar event that says when it is."""
    title = tool_slots.event_title(split, rng)
    on, date = tool_slots.day(split, rng)
    at, place = tool_slots.place(split, rng)
    values = {"title": title.value, "article": title.lead, "on": on, "date": date, "at": at, "place": place}
    values["time"] = tool_slots.time(rng)
    pattern = _draw(((STATED, EVENTS_STATED), (ASKED, EVENTS_ASKED)), rng)
    return _request("create_event", pattern.replace("DETAILS", rng.choice(EVENT_DETAILS)), values, rng)


def reminder(split: Split, rng: random.Random) -> Request:
    """Draw a request for a reminder that says when; one in ten is about an event."""
    values = {"title": tool_slots.task(split, rng), "when": tool_slots.reminder_time(split, rng)}
    if rng.random() < 0.1:
        values["title"] = tool_slots.event_title(split, rng).value
        return _request("create_reminder", _draw(((ASKED, REMINDERS_OF_EVENTS),), rng), values, rng)
    pattern = _draw(((STATED, REMINDERS_STATED), (ASKED, REMINDERS_ASKED)), rng)
    return _request("create_reminder", pattern, values, rng)


def listing(split: Split, rng: random.Random) -> Request:
    """Draw a question for the events of a day; held out are days of the year that training never names."""
    on, date = tool_slots.day(split, rng, known_days=split == "train")
    pattern = _draw(((QUESTION, LISTS_QUESTIONED), (QUESTION, LISTS_QUESTIONED), (ASKED, LISTS_ASKED)), rng)
    return _request("list_events", pattern, {"on": on, "date": date}, rng)


def event_without_details(split: Split, rng: random.Random) -> Request:
    """Draw a request for an event that leaves open when it is, so that no call can be made yet."""
    title = tool_slots.event_title(split, rng)
    values = {"title": title.value, "article": title.lead}
    return _request("create_event", _draw(((ASKED, EVENTS_WITHOUT_DETAILS),), rng), values, rng)


def reminder_without_time(split: Split, rng: random.Random) -> Request:
    """Draw a request for a reminder that leaves open when."""
    values = {"title": tool_slots.task(split, rng)}
    return _request("create_reminder", _draw(((ASKED, REMINDERS_WITHOUT_TIME),), rng), values, rng)


def _draw(kinds: Sequence[tuple[Sequence[str], Sequence[str]]], rng: random.Random) -> str:
    """Draw a kind of sentence, then how it is put, then its body."""
    frames, bodies = rng.choice(kinds)
    return rng.choice(frames).replace("BODY", rng.choice(bodies))


def _request(name: str, pattern: str, values: Mapping[str, str], rng: random.Random) -> Request:
    said = as_typed(say(pattern, values, rng), rng)
    return Request(said.text, name, ordered({slot: said.said(slot) for slot in said.spans}))


def ordered(values: Mapping[str, str]) -> dict[str, str]:
    """Keep what is an argument of a tool, always in the same order: the fewer ways to say it, the sooner
    learned.
    """
    return {name: values[name] for name in ARGUMENTS if name in values}
