"""Short stories that are made up, each with questions whose answers are certain.

Two or three characters do things at different places with different things, so that every question has
one answer and the story also holds the wrong ones. The sentences are in the style of TinyStories.
"""

import random
from typing import NamedTuple

from codling.skills import lexicon
from codling.skills.grammar import article, choose, say, share
from codling.skills.skill import Split

TRANSITIVE = lexicon.listed(
    "found find, saw see, lost lose, hid hide, dropped drop, left leave, made make, washed wash, broke break"
)
INTRANSITIVE = lexicon.listed(
    "played play, slept sleep, sat sit, sang sing, danced dance, waited wait, cried cry, ran run, fell fall"
)
MANNERS = "[little|small|happy|kind|brave|good|proud|shy]"
OPENINGS = (
    f"[Once upon a time|One day|Long ago] there was a {MANNERS} {{kind}} named {{name}}.",
    f"{{name}} was a {MANNERS} {{kind}}.",
)
NEXT_OPENING = f"[{{name}} was|{{name}} was|There was also {{name}},] a {MANNERS} {{kind}}."
WEATHER = "[It was a sunny day|It was a cold day|It was a rainy day|The sun was big|The moon was high|It was warm]."
TOGETHER = "They [were good friends|were best friends|had a lot of fun|liked to play]."
CATEGORIES = ("who", "where", "what", "yes_no")


class Character(NamedTuple):
    """Somebody in a story: a name, what they are, and the word that stands for them."""

    name: str
    kind: str
    pronoun: str


class Event(NamedTuple):
    """Something that one character did at one place, with a thing (which may be empty, as in "slept")."""

    actor: Character
    past: str
    base: str
    thing: str
    spot: str


class Question(NamedTuple):
    """A question about a story, and its answer."""

    text: str
    answer: str


class Story(NamedTuple):
    """A story, and what happens in it."""

    text: str
    events: tuple[Event, ...]


def tell(split: Split, rng: random.Random) -> Story:
    """Make up a story of three to six sentences, in which at least one character does something to a
    thing.
    """
    characters = _characters(rng.choice((2, 2, 3)), split, rng)
    actors = [*characters, rng.choice(characters)] if len(characters) == 2 else characters
    rng.shuffle(actors)
    events = _events(actors, split, rng)
    sentences = [say(rng.choice(OPENINGS), characters[0]._asdict(), rng).text]
    both_known = rng.random() < 0.5
    if both_known:
        sentences.append(say(NEXT_OPENING, characters[1]._asdict(), rng).text)
    if rng.random() < 0.5:
        sentences.append(choose(TOGETHER if both_known else WEATHER, rng))
    return Story(" ".join([*sentences, *_event_sentences(events, rng)]), tuple(events))


def ask(story: Story, category: str, rng: random.Random) -> Question:
    """Ask about one event of a story; yes and no are equally likely."""
    with_thing = [event for event in story.events if event.thing]
    if category == "what":
        event = rng.choice(with_thing)
        return Question(f"What did {event.actor.name} {event.base}?", article(event.thing) + event.thing)
    event = rng.choice(story.events)
    thing = f" the {event.thing.split(' ', 1)[1]}" if event.thing else ""
    if category == "who":
        return Question(f"Who {event.past}{thing or f' {event.spot}'}?", event.actor.name)
    if category == "where":
        return Question(f"Where did {event.actor.name} {event.base}{thing}?", event.spot)
    true = rng.random() < 0.5
    others = sorted({other.actor.name for other in story.events} - {event.actor.name})
    name = event.actor.name if true else rng.choice(others)
    return Question(f"Did {name} {event.base}{thing or f' {event.spot}'}?", "yes" if true else "no")


def _characters(number: int, split: Split, rng: random.Random) -> list[Character]:
    girls, boys = share(lexicon.GIRLS, split), share(lexicon.BOYS, split)
    names = rng.sample([(name, "girl", "She") for name in girls] + [(name, "boy", "He") for name in boys], number)
    characters = []
    for name, kind, pronoun in names:
        is_animal = rng.random() < 0.4
        characters.append(Character(name, rng.choice(share(lexicon.ANIMALS, split)) if is_animal else kind, pronoun))
    return characters


def _events(actors: list[Character], split: Split, rng: random.Random) -> list[Event]:
    """One event for each actor; no verb, thing or place comes twice, so that every question has one
    answer.
    """
    number = len(actors)
    spots = rng.sample(share(lexicon.SPOTS, split), number)
    things = rng.sample(share(lexicon.OBJECTS, split), number)
    transitive, intransitive = rng.sample(TRANSITIVE, number), rng.sample(INTRANSITIVE, number)
    sure = rng.randrange(number)
    events = []
    for i, actor in enumerate(actors):
        has_thing = i == sure or rng.random() < 0.6
        past, base = (transitive if has_thing else intransitive)[i].split()
        thing = f"{rng.choice(lexicon.ADJECTIVES)} {things[i]}" if has_thing else ""
        events.append(Event(actor, past, base, thing, spots[i]))
    return events


def _event_sentences(events: list[Event], rng: random.Random) -> list[str]:
    """One sentence an event; a pronoun where the one before has the same actor, mostly."""
    sentences: list[str] = []
    for i, event in enumerate(events):
        same = i > 0 and events[i - 1].actor == event.actor
        actor = event.actor.pronoun if same and rng.random() < 0.7 else event.actor.name
        thing = f" {article(event.thing)}{event.thing}" if event.thing else ""
        sentences.append(f"{actor} {event.past}{thing} {event.spot}.")
    return sentences
