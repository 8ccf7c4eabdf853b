"""`codling generate` and `codling chat`: a bundle answers."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from codling.commands.open_bundle import (
    Backend,
    BackendName,
    DraftPath,
    Drawing,
    KvType,
    KvTypeName,
    Lookup,
    MinP,
    RepetitionPenalty,
    Rounding,
    Running,
    Seed,
    Temperature,
    Threads,
    TopK,
    TopP,
    open_bundle,
)
from codling.commands.options import AdapterName, AsJson, BundlePath
from codling.commands.terminal import complain, open_console, show_json
from codling.errors import UserError

if TYPE_CHECKING:
    from codling.chat.session import Session

MaxTokens = Annotated[
    int | None, Option("--max-tokens", min=1, help="Longest answer. Default: what the context holds.")
]
SystemText = Annotated[str | None, Option("--system", metavar="TEXT", help="System message of the conversation.")]
ToolsFile = Annotated[Path | None, Option("--tools", metavar="FILE.json", help="List of function definitions.")]


def generate(
    bundle: BundlePath,
    prompt: Annotated[
        str, Option(metavar="TEXT", help="What is said to the model; with --raw, what it writes on from.")
    ],
    adapter: AdapterName = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Seed = 0,
    raw: Annotated[bool, Option("--raw/--chat", help="Go on with plain text, or answer as the user's turn.")] = False,
    system: SystemText = None,
    tools: ToolsFile = None,
    backend: BackendName = Backend.ENGINE,
    threads: Threads = None,
    kv: KvTypeName = KvType.INT8,
    rounding: Rounding = True,
    draft: DraftPath = None,
    lookup: Lookup = False,
    as_json: AsJson = False,
) -> None:
    """Answer one prompt, or with --raw write on from it. Tool calls come as lines of JSON."""
    from codling.chat.answer_json import answer_json
    from codling.chat.terminal import REASON_NOTES, call_json, stream

    if raw and (system is not None or tools is not None):
        raise UserError("--raw writes on from plain text; leave out --system and --tools, or --raw")
    _check_utf8("--prompt", prompt)
    drawing = Drawing(temperature, top_p, top_k, min_p, repetition_penalty, seed)
    running = Running(backend, threads, kv, rounding, draft, lookup)
    session, identity = _open_session(bundle, adapter, system, tools, max_tokens, drawing, running)
    pieces = session.continue_text(prompt) if raw else session.ask(prompt)
    if as_json:
        text = "".join(pieces)
    else:
        stream(pieces, open_console())
    answer = session.last_answer
    assert answer is not None
    if as_json:
        show_json(answer_json(answer, session, identity, text))
        return
    print()
    for call in answer.turn.tool_calls:
        print(call_json(call))
    for malformed in answer.turn.malformed_calls:
        complain(f"a tool call that cannot be read ({malformed.problem}): {malformed.text}")
    if answer.finish_reason in REASON_NOTES:
        complain(REASON_NOTES[answer.finish_reason])


def chat(
    bundle: BundlePath,
    adapter: AdapterName = None,
    system: SystemText = None,
    tools: ToolsFile = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Seed = 0,
    backend: BackendName = Backend.ENGINE,
    threads: Threads = None,
    kv: KvTypeName = KvType.INT8,
    rounding: Rounding = True,
    draft: DraftPath = None,
    lookup: Lookup = False,
) -> None:
    """Talk to a bundle. Shows after each answer how much of the context is used; nothing is ever cut silently."""
    from codling.chat.terminal import run_chat, say

    drawing = Drawing(temperature, top_p, top_k, min_p, repetition_penalty, seed)
    running = Running(backend, threads, kv, rounding, draft, lookup)
    session, identity = _open_session(bundle, adapter, system, tools, max_tokens, drawing, running)
    session.check_chat()
    console = open_console()
    say(console, identity, style="bold")
    run_chat(session, console, _typed_line if sys.stdin.isatty() else _piped_line)


def _open_session(
    bundle: Path,
    adapter: str | None,
    system: str | None,
    tools: Path | None,
    max_tokens: int | None,
    drawing: Drawing,
    running: Running,
) -> "tuple[Session, str]":
    from codling.chat.session import Session

    definitions = _read_tools(tools)
    _check_utf8("--system", system or "")
    opened = open_bundle(bundle, adapter, drawing, running)
    session = Session(opened.tokenizer, opened.decoder, system=system, tools=definitions, max_new_tokens=max_tokens)
    return session, opened.identity


def _check_utf8(option: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{option}: not UTF-8; convert it to UTF-8") from None


def _read_tools(path: Path | None) -> list[dict[str, Any]]:
    import json

    from codling.tokenizer.messages import read_tools

    if path is None:
        return []
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, list):
        raise UserError(f"{path}: not a JSON list of function definitions")
    return read_tools(values, source=str(path))


def _typed_line(prompt: str) -> str:
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  gives `input` a history and an editable line
    return input(prompt)


def _piped_line(_: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
