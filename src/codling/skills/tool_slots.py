"""The values that calendar requests are filled with: people, titles, tasks, places, days and times.

Whatever names a thing (people, titles, tasks, places) contains a word that its split alone may use. Days
and times are closed sets of English and are shared, except the days of the year (`DAYS_OF_YEAR`), which
serve requests that name nothing but a day.
"""

import random
import re
from typing import NamedTuple

from codling.skills import lexicon
from codling.skills.grammar import article, say, share
from codling.skills.skill import Split


class Phrase(NamedTuple):
    """A value, and the word that leads to it in a sentence but is no part of it ("on ", "at ", "a ")."""

    lead: str
    value: str


WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = lexicon.listed(
    "January, February, March, April, May, June, July, August, September, October, November, December"
)
DAYS_OF_YEAR = tuple(f"{month} {day}" for month in MONTHS for day in range(1, 29))
NEAR_DAYS = ("today", "tomorrow", "tomorrow", "tomorrow", "the day after tomorrow")
TIMES = (
    "noon",
    "midnight",
    "{hour} [am|pm|o'clock]",
    "{hour} [am|pm]",
    "{hour}[am|pm]",
    "{hour}:{minute}",
    "{hour}:{minute} [am|pm]",
    "[half past|quarter past|quarter to] {hour_word}",
    "{hour} in the [morning|afternoon|evening]",
    "{hour}",
)
HOUR_WORDS = (
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
WHENS = (
    "{day} at {time}",
    "{day} at {time}",
    "at {time}",
    "at {time} {day}",
    "{day}",
    "[tomorrow|on {weekday}|{weekday}] [morning|afternoon|evening|night]",
    "in [5|10|15|20|30|45|ten|twenty] minutes",
    "in [an hour|half an hour|two hours|three days|a week|a month]",
    "[tonight|this evening|this afternoon|next week|next month|later today|every morning|every day]",
    "[after lunch|after work|before dinner|before bed|when I get home|when I wake up]",
)
LEAD_TIMES = (
    "[an hour|half an hour|two hours|one hour] [before|earlier|ahead]",
    "[5|10|15|20|30|45|ten|twenty] minutes [before|earlier|ahead]",
    "[the day|a day|the evening|the night|two days|three days|a week|the morning] before",
)
TASKS = (
    "[call|text|visit|thank|write to|answer|pay] {person}",
    "[email|ask|call|talk to] {person} about {topic}",
    "[buy|get|pick up|order] {goods}",
    "{chore}",
    "{chore}",
)


def person(split: Split, rng: random.Random) -> str:
    """Draw a first name, a full name or a relative."""
    draw = rng.random()
    if draw < 0.1:
        return rng.choice(share(lexicon.RELATIVES, split))
    first = rng.choice(share(lexicon.GIRLS + lexicon.BOYS, split))
    return f"{first} {rng.choice(share(lexicon.FAMILY_NAMES, split))}" if draw < 0.25 else first


def event_title(split: Split, rng: random.Random) -> Phrase:
    """Draw what an event is called."""
    kind = rng.randrange(5)
    if kind == 0:
        lead, together = re.fullmatch(r"((?:an? )?)(.*)", rng.choice(lexicon.TOGETHER)).groups()  # type: ignore[union-attr]
        return Phrase(lead, f"{together} with {person(split, rng)}")
    if kind == 1:
        name = rng.choice(share(lexicon.GIRLS + lexicon.BOYS, split))
        return Phrase("", f"{name}'s {rng.choice(lexicon.PARTIES)}")
    course = f"{rng.choice(share(lexicon.COURSES, split))} {rng.choice(('class', 'lesson', 'practice'))}"
    title = {
        2: rng.choice(share(lexicon.OCCASIONS, split)),
        3: course,
        4: f"meeting about {rng.choice(share(lexicon.TOPICS, split))}",
    }[kind]
    return Phrase(article(title), title)


def task(split: Split, rng: random.Random) -> str:
    """Draw what somebody wants to be reminded to do."""
    values = {
        "person": person(split, rng),
        "topic": rng.choice(share(lexicon.TOPICS, split)),
        "goods": rng.choice(share(lexicon.GOODS, split)),
        "chore": rng.choice(share(lexicon.CHORES, split)),
    }
    return say(rng.choice(TASKS), values, rng).text


def place(split: Split, rng: random.Random) -> Phrase:
    """Draw where an event is."""
    lead, _, value = rng.choice(share(lexicon.PLACES, split)).partition(" ")
    return Phrase(f"{lead} ", value)


def day(split: Split, rng: random.Random, *, known_days: bool = True) -> Phrase:
    """Draw a day; without `known_days` it is a day of the year that the other split never names."""
    draw = rng.random() if known_days else 1.0
    if draw < 0.35:
        return Phrase("", rng.choice(NEAR_DAYS))
    if draw < 0.5:
        return Phrase("", f"{rng.choice(('next', 'this', 'next', 'this coming'))} {rng.choice(WEEKDAYS)}")
    if draw < 0.85:
        return Phrase(rng.choice(("on ", "on ", "")), rng.choice(WEEKDAYS))
    month, number = rng.choice(share(DAYS_OF_YEAR, split)).split(" ")
    form = rng.choice(("{month} {number}", "{month} {number}", "the {nth}", "the {nth} of {month}"))
    if not known_days:
        form = form.replace("the {nth}", "the {nth} of {month}").replace("of {month} of", "of")
    nth = number + {"1": "st", "2": "nd", "3": "rd", "21": "st", "22": "nd", "23": "rd"}.get(number, "th")
    return Phrase("on ", form.format(month=month, number=number, nth=nth))


def time(rng: random.Random) -> str:
    """Draw a time of day."""
    values = {
        "hour": str(rng.randint(1, 12)),
        "minute": rng.choice(("15", "30", "45", f"{rng.randrange(60):02d}")),
        "hour_word": rng.choice(HOUR_WORDS),
    }
    return say(rng.choice(TIMES), values, rng).text


def reminder_time(split: Split, rng: random.Random) -> str:
    """Draw when to be reminded, with the words that lead to it ("on Friday at 3 pm", "in ten minutes")."""
    values = {"day": "".join(day(split, rng)), "weekday": rng.choice(WEEKDAYS), "time": time(rng)}
    return say(rng.choice(WHENS), values, rng).text


def lead_time(rng: random.Random) -> str:
    """Draw how long before an event to be reminded."""
    return say(rng.choice(LEAD_TIMES), {}, rng).text
