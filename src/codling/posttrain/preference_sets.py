"""Published preference sets, read from files of the user's own into our form.

The table below says of each set how it is read, under which license it stands, who judged, and what it lacks. None of
them has the report's levels: a set's pairs get the level that the configuration names, and there is no default.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from codling.config import config
from codling.data.json_lines import read_objects
from codling.posttrain import preference_records as records
from codling.posttrain.levels import Level
from codling.posttrain.preference_records import Verdict
from codling.posttrain.preferences import PreferencePair, are_equal, read_preferences
from codling.posttrain.prompts import Prompt, is_empty
from codling.posttrain.set_records import Lacks, LeftOut, Record, Records, dialogue, each, sort_out
from codling.tokenizer.messages import Message

OWN_FORM: Final = "pairs"
"""The name of a set that is written in our form already."""
NO_LEVELS: Final = frozenset({Lacks.LEVEL, Lacks.GRADINGS})
NO_LABELER: Final = NO_LEVELS | {Lacks.LABELER}


class SetReader(NamedTuple):
    """How a published set is read, and what is known of it."""

    read: Callable[[Records], Iterable[Verdict | LeftOut]]
    license: str
    labeler: str | None
    lacks: frozenset[Lacks] = NO_LEVELS


def _set(name: str, read: Callable[[Record], Verdict | LeftOut], license: str, labeler: str | None) -> SetReader:
    return SetReader(each(read, name), license, labeler, NO_LEVELS if labeler else NO_LABELER)


_ONE_BY_ONE: Final = {
    "dpo_en_300": (records.read_sharegpt, "Apache-2.0", None),
    "hh_rlhf_harmless_test": (records.read_hh, "MIT", "people: crowd workers"),
    "hhh_alignment": (records.read_chosen, "Apache-2.0", "people: the set's authors"),
    "kto_mix_test_pairs": (records.read_plain_prompt, "Apache-2.0; parts MIT", None),
    "llmbar": (records.read_llmbar, "MIT", "people: the set's authors"),
    "oasst_en_100_pairs": (records.read_oasst, "Apache-2.0", "people: rankings by volunteers"),
    "pandalm_human_999": (records.read_pandalm, "Apache-2.0", "people: two of three agree"),
    "stackexchange_pairs": (records.read_stackexchange, "CC-BY-SA", "people: votes"),
    "vicuna_gpt4_reviews": (records.read_vicuna, "Apache-2.0", "gpt-4"),
}
READERS: Final[Mapping[str, SetReader]] = MappingProxyType(
    {name: _set(name, *known) for name, known in _ONE_BY_ONE.items()}
    | {
        "xstest_labelled_completions": SetReader(
            records.read_xstest, "CC-BY-4.0", "rule: safe prompts are to be answered, unsafe ones refused"
        )
    }
)
"""The sets that can be read. Who judged `dpo_en_300` and `kto_mix_test_pairs` is not known."""


@config
class PreferenceSetConfig:
    """One set of preference pairs."""

    set: str
    """`pairs` for a file in our form, or the name of a published set, by which it is read."""
    path: Path
    """The file, JSONL, plain or gzip."""
    level: Level | None = None
    """The level of all pairs of a set that has none. Ours: no published set tells levels."""

    def __post_init__(self) -> None:
        if self.set != OWN_FORM and self.set not in READERS:
            raise ValueError(f"unknown set '{self.set}' (known: {', '.join([OWN_FORM, *READERS])})")
        lacks_levels = self.set != OWN_FORM and Lacks.LEVEL in READERS[self.set].lacks
        if lacks_levels and self.level is None:
            raise ValueError(f"set '{self.set}' has no levels; name the level of its pairs (level = 'slightly_better')")
        if not lacks_levels and self.level is not None:
            raise ValueError(f"set '{self.set}' has levels of its own; leave level out")


class PreferenceSet(NamedTuple):
    """The pairs of a set, and how many of its records gave none, by reason."""

    pairs: tuple[PreferencePair, ...]
    left_out: dict[LeftOut, int]


def read_preference_set(config: PreferenceSetConfig) -> PreferenceSet:
    """Read a set. Ties and damaged records are counted, not guessed.

    Errors: `UserError` that names file and line, for a record of another set; and for a file without a pair.
    """
    if config.set == OWN_FORM:
        return PreferenceSet(tuple(read_preferences(config.path)), {})
    assert config.level is not None
    reader = READERS[config.set]
    results = [
        _pair(verdict, config.set, reader, config.level) if isinstance(verdict, Verdict) else verdict
        for verdict in reader.read(read_objects(config.path))
    ]
    return PreferenceSet(*sort_out(results, config.path, "preference pair"))


def _pair(verdict: Verdict, name: str, reader: SetReader, level: Level) -> PreferencePair | LeftOut:
    if not all(isinstance(text, str) for text in verdict.answers):
        return LeftOut.NOT_TEXT
    turns = dialogue(verdict.turns)
    if isinstance(turns, LeftOut):
        return turns
    first, second = (Message(role="assistant", content=text.strip()) for text in verdict.answers)
    if is_empty(first) or is_empty(second):
        return LeftOut.EMPTY_ANSWER
    if are_equal(first, second):
        return LeftOut.EQUAL_ANSWERS
    if turns[-1].role != "user" or is_empty(turns[-1]):
        return LeftOut.BROKEN_DIALOGUE
    return PreferencePair(
        prompt=Prompt(messages=turns),
        answers=(first, second),
        better=verdict.better,
        level=level,
        labeler=reader.labeler,
        source=f"{name}: {verdict.item}" if verdict.item else name,
        license=reader.license,
    )
