"""Things people say that need no tool, each with a short plain answer.

Many of them are near misses on purpose: they name people, days and chores, as requests do, but ask for
nothing. What is always said in the same words is split by its form, the rest by the words in its slots. A
pattern that ends in a question mark is a question; the mark may be left out, as people do.
"""

import random
import re
from collections.abc import Mapping

from codling.skills import lexicon, tool_slots
from codling.skills.grammar import as_typed, expansions, say, share
from codling.skills.skill import Split

THANKS = "[thanks|thank you|thanks a lot|many thanks|thank you so much|great, thanks]"
WELCOME = "You are welcome."
FIXED = (
    (
        "[hi|hello|hey|good morning|good evening|hey there|hi there|hello there]",
        "Hello! How can I help?",
    ),
    (THANKS, WELCOME),
    ("[bye|goodbye|see you|good night|talk to you later|see you tomorrow]", "Goodbye!"),
    ("[how are you|how are you doing|how is it going|are you well][ today|]?", "I am well, thank you."),
    (
        "[who are you|what are you|what is your name|what's your name|who am I talking to]?",
        "I am codling, a small assistant.",
    ),
    ("[are you|you are] [a robot|human|a person|real|alive]?", "I am a small language model."),
    (
        "[what can you do|how can you help me|what do you do|what are you good at|what can I ask you]?",
        "I keep your calendar and your reminders.",
    ),
    ("[never mind|forget it|nothing|no, thanks|not now|it's nothing]", "Okay."),
    ("[good|great|perfect|nice|well done|awesome|good job]", "I am glad to help."),
    ("[I'm|I am|I feel] [so|very|a bit|really|] [tired|sleepy]", "You should get some rest."),
    ("[I'm|I am|I feel] [so|very|a bit|really|] [sad|lonely]", "I am sorry to hear that."),
    ("[I'm|I am|I feel] [so|very|a bit|really|] [happy|excited]", "I am happy for you."),
    ("[I'm|I am|I feel] [so|very|a bit|really|] hungry", "You should eat something."),
    (
        "what [is a reminder|does a reminder do|are reminders|is a reminder for|are reminders for]?",
        "A note that comes back at the right time.",
    ),
    (
        "what [is a calendar|does a calendar do|are calendars for|is a calendar for|are calendars]?",
        "It shows what you do on each day.",
    ),
    ("what [time|day] is it[ now| today|]?", "I have no clock."),
    (
        "[what's|how is|what is] the weather [today|tomorrow|on Friday|on Monday|like]?",
        "I do not know the weather.",
    ),
    (
        "[will it|is it going to] [rain|snow] [today|tomorrow|on Friday|on Sunday]?",
        "I do not know the weather.",
    ),
    ("[Friday|Sunday|Monday|Saturday|Thursday] is my favorite [day|day of the week]", "I like it too."),
    (
        "do you like [Mondays|Fridays|weekends|winter|summer|music|cats]?",
        "I do not know, I am a small model.",
    ),
    ("tomorrow is my [birthday|day off|first day|last day|wedding|big day]", "How nice!"),
)
SLOTTED = (
    (
        "I had [lunch|dinner|a meeting|coffee|a call] with {person} [yesterday|last week|on Sunday|today]",
        "I hope it went well.",
    ),
    ("[I met|I saw] {person} [yesterday|last week|on Sunday|at noon|at the park]", "I hope it was nice."),
    ("{person} [says|said] [hi|hello]", "That is kind."),
    ("my [sister|brother|friend|boss|neighbor|teacher] is called {name}", "That is a nice name."),
    ("who is {name}?", "I do not know."),
    ("what does {name} [do|like|want]?", "I do not know."),
    ("I [like|love|enjoy] {course}", "That sounds fun."),
    ("do you like {course}?", "I do not know, I am a small model."),
    ("the {occasion} [yesterday|on Monday|last week|today] was [great|fun|nice]", "I am glad to hear that."),
    (
        "the {occasion} [yesterday|on Monday|last week|today] was [boring|long|bad]",
        "I am sorry to hear that.",
    ),
    ("I [already|just] [did it|did that]: {chore}", "Well done."),
    ("I hate to {chore}", "I understand."),
    ("how do I {chore}?", "I do not know."),
)


def exchange(split: Split, rng: random.Random) -> tuple[str, str]:
    """Draw something that a user may say, and the plain answer to it."""
    if rng.random() < 0.5:
        pattern, answer = rng.choice(FIXED)
        return _typed(rng.choice(share(expansions(pattern), split)), {}, rng), answer
    pattern, answer = rng.choice(SLOTTED)
    values = {
        "person": tool_slots.person(split, rng),
        "name": rng.choice(share(lexicon.GIRLS + lexicon.BOYS, split)),
        "course": rng.choice(share(lexicon.COURSES, split)),
        "occasion": rng.choice(share(lexicon.OCCASIONS, split)),
        "chore": rng.choice(share(lexicon.CHORES, split)),
    }
    return _typed(pattern, values, rng), answer


def thanks(split: Split, rng: random.Random) -> tuple[str, str]:
    """Draw a word of thanks, as it follows on something done, and the answer to it."""
    return _typed(rng.choice(share(expansions(THANKS), split)), {}, rng), WELCOME


def _typed(pattern: str, values: Mapping[str, str], rng: random.Random) -> str:
    """Fill a pattern, with or without its mark at the end."""
    ending = "[?|]" if pattern.endswith("?") else "[||.|!]"
    text = as_typed(say(pattern.removesuffix("?") + ending, values, rng), rng).text
    # An alternative that is empty may leave two spaces, or one at the end.
    return re.sub(r" (?=[ .!?]|$)", "", text)
