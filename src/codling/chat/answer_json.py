"""An answer as programs want it."""

from typing import Any

from codling.chat.session import Answer, Session


def answer_json(answer: Answer, session: Session, identity: str, text: str) -> dict[str, Any]:
    """What `codling generate --json` says of an answer; `identity` names base and adapter."""
    base, _, adapter = identity.rpartition("+")
    return {
        "model": identity,
        "base": base,
        "adapter": adapter,
        "text": text,
        "tool_calls": [{"name": call.name, "arguments": call.arguments} for call in answer.turn.tool_calls],
        "malformed_tool_calls": [call._asdict() for call in answer.turn.malformed_calls],
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "answer_tokens": answer.answer_tokens,
        "context_used_tokens": session.context_used_tokens,
        "context_length_tokens": session.context_length_tokens,
        **answer.proposals._asdict(),
    }
