"""Answers are parsed, scored and shown beside what was expected."""

from pathlib import Path
from typing import Any

import pytest

from codling.evaluate import skills as module
from codling.evaluate.skills import skill_figures
from codling.skills.skill import Example, assistant, user
from codling.skills.tool_calls import ToolCalls
from codling.tokenizer.chat_template import encode_chat
from tests.conftest import Pair

CALL: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [{"name": "create_reminder", "arguments": {"text": "water the plants"}}],
}
EXAMPLES = [
    Example((user("remind me to water the plants"), CALL), (), "tool_calls", "single"),
    Example((user("hello"), assistant("Hello!")), (), "tool_calls", "no_tool"),
]


def test_every_answer_is_read_scored_and_shown(pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The model's part is played by the expected answers, the second one turned into a call."""
    whole = encode_chat(pair.tokenizer, EXAMPLES[0].messages).ids
    prompt = encode_chat(pair.tokenizer, EXAMPLES[0].prompt, add_generation_prompt=True).ids
    call = whole[len(prompt) :]
    monkeypatch.setattr(module, "greedy_answers", lambda model, prompts, max_tokens: [call for _ in prompts])
    figures = skill_figures(ToolCalls(), EXAMPLES, pair.model, pair.tokenizer, max_answer_tokens=8)
    assert figures["exact"] == 0.5
    assert figures["by_category"] == {
        "no_tool": {"exact": 0.0, "num_examples": 1},
        "single": {"exact": 1.0, "num_examples": 1},
    }
    assert [answer["exact"] for answer in figures["answers"]] == [True, False]
    assert figures["answers"][0]["answer"]["tool_calls"][0]["name"] == "create_reminder"
