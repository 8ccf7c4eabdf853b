import numpy as np
import pytest

from codling.engine.answer_text import AnswerText
from codling.errors import UserError


class Bytes:
    """A token for each byte: the hardest to stream."""

    token_bytes = tuple(bytes([byte]) for byte in range(256))
    special_ids = range(2)


def pieces(text: str, *stop: str) -> list[str]:
    answer, found = AnswerText(Bytes(), stop), []
    for byte in text.encode():
        found.append(answer.push(byte))
        if answer.is_stopped:
            return found
    return [*found, answer.finish()]


def test_text_comes_at_once_without_stop_strings() -> None:
    assert pieces("abc") == ["a", "b", "c", ""]


def test_characters_come_whole() -> None:
    assert pieces("é€𝄞", "x") == ["", "é", "", "", "€", "", "", "", "𝄞", ""]


def test_an_unfinished_character_is_shown_at_the_end() -> None:
    answer = AnswerText(Bytes(), ("xyz",))
    assert [answer.push(0x78), answer.push(0xC3), answer.finish()] == ["", "", "x�"]


def test_special_tokens_are_hidden() -> None:
    assert pieces("\0a\1") == ["", "a", "", ""]


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one\n\ntwo", ("\n\n",), ["o", "n", "e", "", ""]),
        ("one\ntwo", ("\n\n",), ["o", "n", "e", "", "\nt", "w", "o", ""]),
        ("ababac", ("abac",), ["", "", "", "ab", "", ""]),
        ("abab", ("abac",), ["", "", "", "ab", "ab"]),
        ("abcd", ("bcd", "c"), ["a", "", "b"]),
        ("xabc", ("abc", "xabd"), ["", "", "", "x"]),
    ],
)
def test_stop_strings_are_cut_and_never_shown_in_part(text: str, stop: tuple[str, ...], expected: list[str]) -> None:
    assert pieces(text, *stop) == expected


def test_any_text_is_cut_at_the_first_stop_string() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(random.choice(list("abé"), 12))
        stop = {"".join(random.choice(list("abé"), random.integers(2, 5))) for _ in range(2)}
        # What stands when the first of them is whole.
        ends = [end for end in range(13) if any(one in text[:end] for one in stop)]
        whole = text[: ends[0]] if ends else text
        expected = min((whole[: whole.find(one)] for one in stop if one in whole), key=len, default=text)
        assert "".join(pieces(text, *stop)) == expected


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(UserError, match="stop string is empty"):
        AnswerText(Bytes(), ("a", ""))
