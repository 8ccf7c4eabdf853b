import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from codling.artifact.bundle import Bundle, load_bundle
from codling.chat.jax_decoder import JaxDecoder
from codling.chat.session import Session
from codling.chat.terminal import run_chat, stream
from codling.errors import UserError
from codling.model.generate import Sampling
from codling.tokenizer.special_tokens import END, TOOL_CALL


@pytest.fixture(scope="module")
def bundle(pair: Any) -> Bundle:
    return load_bundle(pair.server)


def session_of(bundle: Bundle, **options: Any) -> Session:
    return Session(bundle.tokenizer, JaxDecoder(bundle.model, Sampling(), 0), **options)


def talk(session: Session, *lines: str, is_terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, highlight=False, width=60)
    remaining = iter(lines)

    def read_line(prompt: str) -> str:
        try:
            return next(remaining)
        except StopIteration:
            raise EOFError from None

    run_chat(session, console, read_line)
    return file.getvalue()


def test_each_answer_says_how_much_of_the_context_is_used(bundle: Bundle) -> None:
    session = session_of(bundle, max_new_tokens=5)
    shown = talk(session, "hi", "", "more")
    used = [line for line in shown.splitlines() if line.startswith("context")]
    assert len(used) == 2
    assert used[-1].startswith(f"context {session.context_used_tokens} / 96 ")
    assert used[-1].endswith("(--max-tokens)")


def test_reset_help_quit_and_what_is_none_of_them(bundle: Bundle) -> None:
    session = session_of(bundle, max_new_tokens=5)
    shown = talk(session, "/help", "/nonsense", "hi", "/reset", "/quit", "hi")
    assert "Ctrl-D" in shown
    assert "no command /nonsense" in shown
    assert shown.count("context ") == 1
    assert session.context_used_tokens == 0


def test_past_the_context_it_says_so_and_goes_on_after_reset(bundle: Bundle) -> None:
    shown = talk(session_of(bundle, max_new_tokens=5), "x " * 200, "/reset", "hi")
    assert "the context of this model holds 96" in shown
    assert "/reset" in shown
    assert shown.splitlines()[-1].startswith("context ")


def test_an_answer_cut_by_the_context_says_so(bundle: Bundle) -> None:
    shown = talk(session_of(bundle), "a " * 40)
    assert "context 96 / 96" in shown
    assert "the context is full, the answer ends here; /reset starts over" in shown


@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize(("typed", "given"), [("sunny", "sunny"), ("", "ok")])
def test_a_tool_call_is_shown_and_its_result_asked_for(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, is_terminal: bool, typed: str, given: str
) -> None:
    session = session_of(bundle)
    call = json.dumps({"name": "weather", "arguments": {"day": "today"}}, separators=(",", ":"))
    answers = iter([[TOOL_CALL.id, *bundle.tokenizer.encode(call), END.id], [*bundle.tokenizer.encode("So."), END.id]])
    prompts: list[str] = []

    def run(prompt: list[int], *_: Any) -> Iterator[int]:
        prompts.append(bundle.tokenizer.decode(prompt, show_special=True))
        yield from next(answers)

    monkeypatch.setattr(session._decoder, "run", run)
    shown = talk(session, "q", typed, is_terminal=is_terminal)
    assert '{"name": "weather", "arguments": {"day": "today"}}' in shown
    assert prompts[1].endswith(f"<|tool|>{given}<|end|><|assistant|>")
    assert "So." in shown


def test_an_answer_can_be_stopped(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(bundle)

    def run(*_: Any) -> Iterator[int]:
        yield from bundle.tokenizer.encode("well")
        raise KeyboardInterrupt

    monkeypatch.setattr(session._decoder, "run", run)
    shown = talk(session, "q", "/help")
    assert "well" in shown
    assert "· stopped" in shown
    assert "Ctrl-D" in shown


@pytest.mark.parametrize(("is_terminal", "shown"), [(True, "a␛[2Jb\n"), (False, "a\x1b[2Jb\n")])
def test_a_model_cannot_drive_the_terminal(is_terminal: bool, shown: str) -> None:
    file = io.StringIO()
    stream(iter(["a\x1b", "[2Jb\n"]), Console(file=file, force_terminal=is_terminal))
    assert file.getvalue() == shown


def test_input_that_is_not_utf8_is_refused(bundle: Bundle) -> None:
    def read_line(prompt: str) -> str:
        return b"\xff".decode()

    with pytest.raises(UserError, match="standard input: not UTF-8"):
        run_chat(session_of(bundle), Console(file=io.StringIO()), read_line)
