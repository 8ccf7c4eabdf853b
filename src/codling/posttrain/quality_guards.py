"""Cheap guards on demonstrations before training: what is damaged is left out, and counted under its reason.

A guard wants evidence in the text alone, and lets pass what may be right: a demonstration that goes is lost, one that
stays is one among thousands. Every message of the assistant is looked at, as every one of them is learned from.
Source: arXiv 2407.21075 section 4.1 names quality guards and not which; the list is ours.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from codling.config import config
from codling.posttrain.demonstrations import Demonstration
from codling.tokenizer.chat_template import SPECIAL_TEXT, encode_chat
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.messages import Message

NOT_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufffd-\uffff]")
"""Control characters other than tab and line ends, halves of surrogate pairs, private use, U+FFFD and beyond."""
FOREIGN_CALL: Final = re.compile(r"</?\|?(?:tool_?calls?|function_?calls?)\|?>|\[TOOL_CALLS\]", re.IGNORECASE)
"""How other houses mark a call in running text."""
BROKEN_END: Final = re.compile(r"(?:,|\w:|(?<![:;=\-])[(\[{]|\b(?:the|an|and|or))$")
"""What no finished text ends with; a bracket after a colon is a face."""
UNIT: Final = re.compile(r"\w{1,16}|[^\w\s]")
"""A word or a sign; a longer run is taken in pieces, so that a run of one letter repeats itself too."""


class Fault(StrEnum):
    """Why a demonstration is left out; of several reasons the first in this order is counted."""

    NOT_TEXT = "characters that are not text"
    EMPTY = "an answer without a character that shows"
    ECHO = "an answer that is the request over again"
    CUT_OFF = "an answer that stops in its middle"
    REPEATS = "an answer that repeats itself"
    UNREADABLE_CALL = "a tool call that cannot be read"
    UNKNOWN_TOOL = "a call of a tool that is not offered"
    TOO_LONG = "longer than a row"


@config
class GuardConfig:
    """What is too long and what repeats itself. All ours."""

    row_length_tokens: int
    """Length of the rows that demonstrations are packed into."""
    num_gram_words: int = 4
    """Words, or signs, of a phrase."""
    max_repeated_share: float = 0.6
    """Of an answer's phrases those that it has had before, at most. Of 30,742 answers of the published sets that are
    long enough one lies above, and goes round in circles; the next is a regular expression, at 0.57."""
    min_phrases: int = 24
    """An answer of fewer phrases never repeats itself."""


class Guarded(NamedTuple):
    """The demonstrations that passed, in their order, and how many did not, by reason."""

    kept: tuple[Demonstration, ...]
    left_out: dict[Fault, int]


def guard(demonstrations: Iterable[Demonstration], tokenizer: Tokenizer, config: GuardConfig) -> Guarded:
    """Sort out what should not be learned from."""
    kept, left_out = [], Counter[Fault]()
    for demonstration in demonstrations:
        fault = find_fault(demonstration, tokenizer, config)
        if fault is None:
            kept.append(demonstration)
        else:
            left_out[fault] += 1
    return Guarded(tuple(kept), dict(left_out))


def find_fault(demonstration: Demonstration, tokenizer: Tokenizer, config: GuardConfig) -> Fault | None:
    """The first guard that a demonstration does not pass; none where it passes all."""
    return next((fault for fault in Fault if GUARDS[fault](demonstration, tokenizer, config)), None)


def repeated_share(text: str, num_gram_words: int) -> tuple[float, int]:
    """Of the text's phrases the share that it has had before; and how many phrases it has."""
    words = UNIT.findall(text.casefold())
    phrases = [tuple(words[place : place + num_gram_words]) for place in range(len(words) - num_gram_words + 1)]
    return (1 - len(set(phrases)) / len(phrases) if phrases else 0.0), len(phrases)


def _has_no_text(demonstration: Demonstration, tokenizer: Tokenizer, config: GuardConfig) -> bool:
    arguments = (call.arguments for message in demonstration.messages for call in message.tool_calls)
    texts = [message.content or "" for message in demonstration.messages]
    return any(NOT_TEXT.search(text) for text in (*texts, *(json.dumps(a, ensure_ascii=False) for a in arguments)))


def _is_empty(demonstration: Demonstration, tokenizer: Tokenizer, config: GuardConfig) -> bool:
    return any(not message.tool_calls and not _shows(message.content or "") for message in _answers(demonstration))


def _shows(text: str) -> bool:
    """Whether there is more than spaces and marks of zero width."""
    return any(unicodedata.category(character)[0] not in "ZC" for character in text)


def _is_echo(demonstration: Demonstration, tokenizer: Tokenizer, config: GuardConfig) -> bool:
    request = ""
    for message in demonstration.messages:
        if message.role == "user":
            request = (message.content or "").strip()
        elif message.role == "assistant" and not message.tool_calls and (message.content or "").strip() == request:
            return True
    return False


def _is_cut_off(demonstration: Demonstration, tokenizer: Tokenizer, config: GuardConfig) -> bool:
    """By its text: in tokens every answer ends its turn, as the template ends it. What leads to a call may be open."""
    spoken = [(message.content or "").rstrip() for message in _answers(demonstration) if not message.tool_calls]
    return any(text.count("```") % 2 or BROKEN_END.search(text) for text in spoken)


def _repeats_itself(demonstration: Demonstration, tokenizer: Tokenizer, config: GuardConfig) -> bool:
    for message in _answers(demonstration):
        share, num_phrases = repeated_share(message.content or "", config.num_gram_words)
        if num_phrases >= config.min_phrases and share > config.max_repeated_share:
            return True
    return False


def _has_unreadable_call(demonstration: Demonstration, tokenizer: Tokenizer, config: GuardConfig) -> bool:
    """A call that is written into the text, or whose arguments JSON does not give back as they are."""
    answers = _answers(demonstration)
    if any(SPECIAL_TEXT.search(a.content or "") or FOREIGN_CALL.search(a.content or "") for a in answers):
        return True
    # Not a number is unequal to itself, and has no name in JSON.
    return any(json.loads(json.dumps(c.arguments)) != c.arguments for answer in answers for c in answer.tool_calls)


def _calls_unknown_tool(demonstration: Demonstration, tokenizer: Tokenizer, config: GuardConfig) -> bool:
    """Only where tools are offered: some sets come without their definitions."""
    offered = {tool["name"] for tool in demonstration.tools}
    called = {call.name for answer in _answers(demonstration) for call in answer.tool_calls}
    return bool(offered) and not called <= offered


def _is_too_long(demonstration: Demonstration, tokenizer: Tokenizer, config: GuardConfig) -> bool:
    # A row holds one token less than the document: the last is a target only.
    return len(encode_chat(tokenizer, demonstration.messages, demonstration.tools).ids) > config.row_length_tokens + 1


def _answers(demonstration: Demonstration) -> list[Message]:
    return [message for message in demonstration.messages if message.role == "assistant"]


GUARDS: Final[MappingProxyType[Fault, Callable[[Demonstration, Tokenizer, GuardConfig], bool]]] = MappingProxyType(
    {
        Fault.NOT_TEXT: _has_no_text,
        Fault.EMPTY: _is_empty,
        Fault.ECHO: _is_echo,
        Fault.CUT_OFF: _is_cut_off,
        Fault.REPEATS: _repeats_itself,
        Fault.UNREADABLE_CALL: _has_unreadable_call,
        Fault.UNKNOWN_TOOL: _calls_unknown_tool,
        Fault.TOO_LONG: _is_too_long,
    }
)
"""What finds each fault."""
