"""The chat in a terminal, or over a pipe: reads lines, shows answers as they are written."""

import json
from collections.abc import Callable, Generator, Iterator

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from codling.chat.session import Answer, Session
from codling.errors import UserError
from codling.tokenizer.messages import ToolCall

HELP = """\
/reset  forget the conversation and start over
/help   show this
/quit   leave (so does Ctrl-D)
Ctrl-C stops an answer. When the model calls a tool, type the tool's result, or press enter for "ok"."""
DEFAULT_TOOL_RESULT = "ok"
REASON_NOTES = {
    "length": "stopped at the limit on new tokens (--max-tokens)",
    "context": "the context is full, the answer ends here; /reset starts over",
    "interrupted": "stopped",
}
VISIBLE_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
"""A model can write any byte; in a terminal a control character shows as its picture and controls nothing."""

ReadLine = Callable[[str], str]
"""Shows a prompt and returns a line; raises EOFError at the end."""


def run_chat(session: Session, console: Console, read_line: ReadLine) -> None:
    """Talk until the user leaves or the input ends."""
    say(console, "type a message, or /help", style="dim")
    while (line := _read(read_line, "> ")) is not None and line != "/quit":
        if line == "/reset":
            session.reset()
            say(console, "the conversation starts over", style="dim")
        elif line == "/help":
            say(console, HELP)
        elif line.startswith("/"):
            say(console, f"no command {line}; /help lists them")
        elif line:
            _converse(session, line, console, read_line)


def stream(pieces: Iterator[str], console: Console) -> None:
    """Show text as it comes."""
    for piece in pieces:
        shown = piece.translate(VISIBLE_CONTROLS) if console.is_terminal else piece
        console.out(shown, end="", highlight=False)
        console.file.flush()


def call_json(call: ToolCall) -> str:
    """A tool call in one line."""
    return json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Show a line as it is: never wrapped when it goes into a pipe, nothing in it taken for markup."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _converse(session: Session, message: str, console: Console, read_line: ReadLine) -> None:
    """Ask; and for as long as the model calls tools, give it their results."""
    try:
        answer = _show_answer(session, session.ask(message), console)
        while results := _ask_results(answer, console, read_line):
            answer = _show_answer(session, session.add_tool_results(results), console)
    except UserError as error:
        say(console, f"{error} (or /reset to start over)")


def _show_answer(session: Session, pieces: Iterator[str], console: Console) -> Answer:
    try:
        stream(pieces, console)
    except KeyboardInterrupt:
        if isinstance(pieces, Generator):
            pieces.close()
    console.print()
    answer = session.last_answer
    assert answer is not None
    for malformed in answer.turn.malformed_calls:
        say(console, f"a tool call that cannot be read ({malformed.problem}): {malformed.text}")
    used = f"context {session.context_used_tokens} / {session.context_length_tokens}"
    speed = f"{answer.answer_tokens} tokens, {answer.tokens_per_s:.0f} a second"
    proposed, accepted = answer.proposals
    kept = f"{accepted} of {proposed} proposals kept" if proposed else None
    notes = [used, speed, kept, REASON_NOTES.get(answer.finish_reason)]
    say(console, " · ".join(note for note in notes if note), style="dim")
    return answer


def _ask_results(answer: Answer, console: Console, read_line: ReadLine) -> list[str]:
    """The result of every call; none where there is no call, or the user gives no result."""
    results = [_ask_result(call, console, read_line) for call in answer.turn.tool_calls]
    return [] if None in results else [str(result) for result in results]


def _ask_result(call: ToolCall, console: Console, read_line: ReadLine) -> str | None:
    text = call_json(call).translate(VISIBLE_CONTROLS)
    if console.is_terminal:
        console.print(Panel.fit(Text(text), title="tool call", title_align="left"))
    else:
        say(console, f"tool call: {text}")
    result = _read(read_line, f'result of {call.name} (enter for "{DEFAULT_TOOL_RESULT}"): ')
    return DEFAULT_TOOL_RESULT if result == "" else result


def _read(read_line: ReadLine, prompt: str) -> str | None:
    """A line without the spaces around it; None at the end of the input, or when the user wants to leave."""
    try:
        return read_line(prompt).strip()
    except (EOFError, KeyboardInterrupt):
        return None
    except UnicodeDecodeError as error:
        raise UserError(f"standard input: not UTF-8 at byte {error.start}; convert it to UTF-8") from None
