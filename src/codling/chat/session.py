"""A conversation with a bundle: its messages, its tokens, and what the model answers, piece by piece.

The messages are the truth: every turn is spelled by the chat template from the start, as in training, and the decoder
runs only what is new in it.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Literal, NamedTuple

from codling.chat.decoder import Decoder, Proposals
from codling.errors import UserError
from codling.tokenizer.assistant_turn import AssistantTurn, parse_assistant
from codling.tokenizer.chat_template import check_template, encode_chat
from codling.tokenizer.encode import StreamDecoder
from codling.tokenizer.imported import TextTokenizer
from codling.tokenizer.special_tokens import TOOL_CALL

FinishReason = Literal["stop", "length", "context", "interrupted"]
"""The model ended its turn; the limit on new tokens; the end of the context; the reader stopped reading."""


class Answer(NamedTuple):
    """What the model wrote, and what it took."""

    turn: AssistantTurn
    finish_reason: FinishReason
    prompt_tokens: int
    answer_tokens: int
    """The token that ended the turn is counted."""
    first_token_s: float
    """From the question to the first token: the prompt, and with JAX at first the compilation."""
    time_s: float
    proposals: Proposals
    """Of its tokens."""

    @property
    def tokens_per_s(self) -> float:
        """Speed of writing once it has begun; 0 for an answer of one token."""
        return (self.answer_tokens - 1) / max(self.time_s - self.first_token_s, 1e-9)


class Session:
    """A conversation; the same messages and decoder give the same answers."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        decoder: Decoder,
        *,
        system: str | None = None,
        tools: Sequence[dict[str, Any]] = (),
        max_new_tokens: int | None = None,
    ) -> None:
        """Begin with a system message and tool definitions, if any."""
        self._tokenizer = tokenizer
        self._tools = tuple(tools)
        self._beginning: tuple[dict[str, Any], ...] = () if system is None else ({"role": "system", "content": system},)
        self._decoder = decoder
        self._max_new_tokens = max_new_tokens or decoder.context_length_tokens
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system message and the tools."""
        self._messages = list(self._beginning)
        self.context_used_tokens = 0
        """Tokens of the conversation so far, the last answer included."""
        self.last_answer: Answer | None = None
        """Set when the stream of an answer has ended."""

    @property
    def context_length_tokens(self) -> int:
        """Tokens that the conversation may have."""
        return self._decoder.context_length_tokens

    @property
    def pending_calls(self) -> int:
        """Tool calls of the last answer that have no result yet."""
        return len(self._messages[-1].get("tool_calls", ())) if self._messages else 0

    def check_chat(self) -> None:
        """Errors: `UserError` if this bundle can only write on from plain text."""
        check_template(self._tokenizer)

    def ask(self, message: str) -> Iterator[str]:
        """Say something; returns the text of the answer in pieces, as it is written. Calls are in `last_answer`.

        Errors: `UserError` with the numbers if it does not fit the context; then nothing has changed or run.
        """
        return self._answer({"role": "user", "content": message})

    def add_tool_results(self, results: Sequence[str]) -> Iterator[str]:
        """Give the result of each call of the last answer, in order; returns what the model says to them.

        Errors: `UserError` if there are not as many calls, and as for `ask`.
        """
        if not results or len(results) != self.pending_calls:
            raise UserError(f"{len(results)} tool results, but the last answer waits for {self.pending_calls}")
        return self._answer(*({"role": "tool", "content": result} for result in results))

    def continue_text(self, text: str) -> Iterator[str]:
        """Write on from plain text, without a conversation. Errors: as for `ask`."""
        prompt = [*self._tokenizer.begin_ids, *self._tokenizer.encode(text)]
        self._decoder.check_fits(prompt)
        return self._stream(prompt, None)

    def _answer(self, *new_messages: dict[str, Any]) -> Iterator[str]:
        messages = [*self._messages, *new_messages]
        prompt = encode_chat(self._tokenizer, messages, self._tools, add_generation_prompt=True).ids
        self._decoder.check_fits(prompt)
        return self._stream(prompt, messages)

    def _stream(self, prompt: list[int], messages: list[dict[str, Any]] | None) -> Iterator[str]:
        start_s = time.perf_counter()
        first_token_s = 0.0
        ids: list[int] = []
        text = StreamDecoder(self._tokenizer, show_special=True)
        stop_ids, is_content = self._tokenizer.stop_ids, True
        reason: FinishReason = "interrupted"
        try:
            with closing(self._decoder.run(prompt, self._max_new_tokens, stop_ids)) as drawn:
                for token_id in drawn:
                    ids.append(token_id)
                    first_token_s = first_token_s or time.perf_counter() - start_s
                    is_content = is_content and token_id not in (*stop_ids, self._tokenizer.tool_call_id)
                    if is_content and (piece := text.push(token_id)):
                        yield piece
            if rest := text.finish():
                yield rest
            reason = self._finish_reason(prompt, ids)
        finally:
            # Also when the reader stops in the middle: what was said so far was said.
            self.last_answer = Answer(
                turn=parse_assistant(self._tokenizer, ids),
                finish_reason=reason,
                prompt_tokens=len(prompt),
                answer_tokens=len(ids),
                first_token_s=first_token_s,
                time_s=time.perf_counter() - start_s,
                proposals=self._decoder.proposals,
            )
            self.context_used_tokens = len(prompt) + len(ids)
            if messages is not None:
                self._messages = [*messages, _message(self.last_answer.turn)]

    def _finish_reason(self, prompt: Sequence[int], ids: Sequence[int]) -> FinishReason:
        if ids[-1] in self._tokenizer.stop_ids:
            return "stop"
        return "context" if len(prompt) + len(ids) == self.context_length_tokens else "length"


def _message(turn: AssistantTurn) -> dict[str, Any]:
    """The turn as the next one sees it; a call that cannot be read stays visible as text."""
    malformed = "".join(TOOL_CALL.text + call.text for call in turn.malformed_calls)
    calls = [{"name": call.name, "arguments": call.arguments} for call in turn.tool_calls]
    return {"role": "assistant", "content": turn.content + malformed, **({"tool_calls": calls} if calls else {})}
