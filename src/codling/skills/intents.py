"""Skill (b): the intent of a real request, in plain words ("book flight").

The requests are the caller's, pairs of text and intent (CLINC150 in the recipe); this file only chooses,
frames and scores them. Requests of other intents, or of none, answer "other": whoever sorts requests must
know what is not for them. 150 intents are too many for two million parameters and a minute of training;
some forty suit an assistant.

Held out: the data set's own test part. A training request that stands in it too is left out of training.
"""

from collections.abc import Iterable, Sequence

from codling.errors import UserError
from codling.skills.guessers import most_frequent, naive_bayes, nearest_request
from codling.skills.lexicon import listed
from codling.skills.skill import (
    Answer,
    Example,
    Guesser,
    Score,
    Skill,
    Split,
    assistant,
    check_count,
    plain,
    random_for,
    user,
)

INSTRUCTION = "What is the intent? "
OTHER = "other"
ASSISTANT_INTENTS = listed("""
    alarm, book_flight, book_hotel, calculator, calendar, calendar_update, calories, change_volume,
    current_location, date, definition, directions, exchange_rate, find_phone, flip_coin, fun_fact,
    greeting, goodbye, make_call, measurement_conversion, next_song, pay_bill, play_music, recipe,
    reminder, restaurant_reservation, restaurant_suggestion, roll_dice, schedule_meeting, shopping_list,
    smart_home, spelling, tell_joke, text, thank_you, time, timer, todo_list, traffic, translate, uber,
    weather
""")
"""What people ask of an assistant on a phone; ours, chosen from CLINC150's 150."""


IntentRequest = tuple[str, str]
"""A real request and its intent, as the data set writes it ("book_flight")."""


class Intents(Skill):
    """Real requests sorted into `intents` and "other", each intent with all its requests.

    `other_share` is the part of "other" in the examples: without a bound it would drown the intents.
    """

    name = "intents"

    def __init__(
        self,
        train: Iterable[IntentRequest],
        heldout: Iterable[IntentRequest],
        intents: Sequence[str] = ASSISTANT_INTENTS,
        *,
        other_share: float = 0.1,
    ):
        if not 0 <= other_share < 1:
            raise UserError(f"skill intents: other_share is {other_share}; it must be at least 0 and below 1")
        self._intents = frozenset(intents)
        self._other_share = other_share
        heldout_texts = {plain(text): (text, intent) for text, intent in heldout}
        train_texts = {plain(text): (text, intent) for text, intent in train if plain(text) not in heldout_texts}
        self._requests: dict[Split, list[IntentRequest]] = {
            "train": list(train_texts.values()),
            "heldout": list(heldout_texts.values()),
        }
        for split, part in self._requests.items():
            if missing := sorted(self._intents - {intent for _, intent in part}):
                raise UserError(f"skill intents: no {split} request has the intent '{missing[0]}'; add some or drop it")

    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        """Draw requests without repeats; training goes round again when all were drawn, held-out examples
        never.

        Errors: `UserError` where more held-out examples are asked for than there are.
        """
        check_count(self.name, count)
        rng = random_for(self.name, split, seed)
        listed = [request for request in self._requests[split] if request[1] in self._intents]
        others = [request for request in self._requests[split] if request[1] not in self._intents]
        num_others = round(len(listed) * self._other_share / (1 - self._other_share))
        pool = listed + rng.sample(others, min(num_others, len(others)))
        if split == "heldout" and count > len(pool):
            raise UserError(f"skill intents: {count} held-out examples asked for, {len(pool)} there; ask for fewer")
        drawn: list[IntentRequest] = []
        while len(drawn) < count:
            rng.shuffle(pool)
            drawn += pool[: count - len(drawn)]
        return [self._example(request) for request in drawn]

    def score(self, answer: Answer, example: Example) -> Score:
        """Exact: the intent's words, whatever their case; nothing in between."""
        exact = not answer.tool_calls and plain(answer.text) == plain(example.target.text)
        return Score(exact=exact, partial=float(exact))

    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        """The majority's intent, the most similar training request's, and multinomial naive Bayes's."""
        return {
            "majority intent": most_frequent(train),
            "nearest request": nearest_request(train),
            "naive Bayes": naive_bayes(train),
        }

    def _example(self, request: IntentRequest) -> Example:
        text, intent = request
        listed = intent in self._intents
        answer = intent.replace("_", " ") if listed else OTHER
        return Example((user(INSTRUCTION + text), assistant(answer)), (), self.name, "listed" if listed else OTHER)
