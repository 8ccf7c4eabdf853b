"""How a conversation becomes tokens.

    <s><|system|>TEXT<|tools|>[DEFINITION,...]<|end|><|user|>TEXT<|end|><|assistant|>TEXT<|tool_call|>CALL<|end|>...

No spaces or line breaks are added, as each would cost a small model a token. There is one template, in Jinja
as transformers uses it; it goes into `tokenizer_config.json` and `encode_chat` renders the same one. Tool
definitions and calls are compact JSON; a call is {"name":...,"arguments":{...}}.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

import jinja2
import jinja2.sandbox

from codling.errors import UserError
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.imported import TextTokenizer
from codling.tokenizer.messages import Message, read_messages, read_tools
from codling.tokenizer.special_tokens import ASSISTANT, BOS, END, SPECIAL_TOKENS

CHAT_TEMPLATE: Final = """\
{{- bos_token -}}
{%- set turns = messages -%}
{%- if tools or messages[0].role == 'system' -%}
  {{- '<|system|>' -}}
  {%- if messages[0].role == 'system' -%}
    {{- messages[0].content or '' -}}
    {%- set turns = messages[1:] -%}
  {%- endif -%}
  {%- if tools -%}
    {{- '<|tools|>[' -}}
    {%- for tool in tools -%}
      {{- (tool.function if tool.function is defined else tool) | tojson(separators=(',', ':')) -}}
      {{- ']' if loop.last else ',' -}}
    {%- endfor -%}
  {%- endif -%}
  {{- '<|end|>' -}}
{%- endif -%}
{%- for message in turns -%}
  {%- if message.role == 'user' -%}
    {{- '<|user|>' -}}
  {%- elif message.role == 'assistant' -%}
    {{- '<|assistant|>' -}}
  {%- elif message.role == 'tool' -%}
    {{- '<|tool|>' -}}
  {%- else -%}
    {{- raise_exception('a message of the ' ~ message.role ~ ' cannot stand here') -}}
  {%- endif -%}
  {{- message.content or '' -}}
  {%- for call in message.tool_calls or [] -%}
    {%- set call = call.function if call.function is defined else call -%}
    {{- '<|tool_call|>{"name":' ~ (call.name | tojson) ~ ',"arguments":' -}}
    {{- call.arguments if call.arguments is string else call.arguments | tojson(separators=(',', ':')) -}}
    {{- '}' -}}
  {%- endfor -%}
  {{- '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|assistant|>' -}}
{%- endif -%}
"""

SPECIAL_TEXT: Final = re.compile("|".join(re.escape(token.text) for token in SPECIAL_TOKENS))
SPECIAL_IDS: Final = {token.text: token.id for token in SPECIAL_TOKENS}


class EncodedChat(NamedTuple):
    """A conversation in tokens."""

    ids: list[int]
    loss_mask: list[bool]
    """True on what the assistant writes: after `<|assistant|>`, up to and with `<|end|>`."""


def check_template(tokenizer: TextTokenizer) -> None:
    """Errors: `UserError` for an imported tokenizer: its model was taught another template."""
    if not isinstance(tokenizer, Tokenizer):
        raise UserError(
            "this model was imported with its own tokenizer, which codling's chat template does not fit; "
            "write on from plain text with `codling generate --raw`"
        )


def encode_chat(
    tokenizer: TextTokenizer,
    messages: Sequence[Mapping[str, Any] | Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    add_generation_prompt: bool = False,
) -> EncodedChat:
    """Spell a conversation in tokens. The names of special tokens in its text stay text.

    Errors: `UserError` for what `read_messages` and `read_tools` refuse, if the assistant is to speak out of turn, and
    as for `check_template`.
    """
    check_template(tokenizer)
    turns = read_messages(messages)
    if add_generation_prompt and turns[-1].role not in ("user", "tool"):
        raise UserError(f"messages[{len(turns) - 1}]: the assistant can only answer a user or a tool")
    plain = {"messages": [_plain(turn) for turn in turns], "tools": read_tools(tools)}
    # A special token's name in the conversation is broken up with a mark while the template is rendered: only
    # the template's own names are whole then.
    mark = _unused_mark(json.dumps(plain, ensure_ascii=False))
    rendered = _template().render(
        **_break_special_text(plain, mark), bos_token=BOS.text, add_generation_prompt=add_generation_prompt
    )
    ids: list[int] = []
    loss_mask: list[bool] = []
    is_assistant = False
    for part in re.split(f"({SPECIAL_TEXT.pattern})", rendered):
        special_id = SPECIAL_IDS.get(part)
        part_ids = tokenizer.encode(part.replace(mark, "")) if special_id is None else [special_id]
        ids += part_ids
        loss_mask += [is_assistant] * len(part_ids)
        is_assistant = special_id == ASSISTANT.id or (is_assistant and special_id != END.id)
    return EncodedChat(ids, loss_mask)


def _plain(turn: Message) -> dict[str, Any]:
    calls = [{"name": call.name, "arguments": call.arguments} for call in turn.tool_calls]
    return {"role": turn.role, "content": turn.content, "tool_calls": calls}


def _unused_mark(text: str) -> str:
    """A run of a private character, longer than any in `text`."""
    longest = max(map(len, re.findall("\ue000+", text)), default=0)
    return "\ue000" * (longest + 1)


def _break_special_text(value: Any, mark: str) -> Any:
    """Put the mark after the first character of each special token's name, in all strings and keys."""
    if isinstance(value, str):
        return SPECIAL_TEXT.sub(lambda found: found[0][0] + mark + found[0][1:], value)
    if isinstance(value, dict):
        return {_break_special_text(key, mark): _break_special_text(item, mark) for key, item in value.items()}
    if isinstance(value, list):
        return [_break_special_text(item, mark) for item in value]
    return value


# Compiling takes longer than encoding a short chat. It depends on nothing, so it cannot grow stale.
@functools.cache
def _template() -> jinja2.Template:
    """The template, in an environment set up as transformers does it."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    return environment.from_string(CHAT_TEMPLATE)


def _to_json(value: Any, separators: tuple[str, str] | None = None) -> str:
    """As in transformers; Jinja's own filter escapes what HTML would misread."""
    return json.dumps(value, ensure_ascii=False, separators=separators)


def _raise_exception(message: str) -> NoReturn:
    raise UserError(f"chat template: {message}")
