"""How a model answers the held-out conversations of a skill."""

from collections.abc import Sequence
from typing import Any

from codling.evaluate.answers import greedy_answers
from codling.model.transformer import Transformer
from codling.skills.skill import Answer, Example, Skill, category_scores, mean_score
from codling.tokenizer.assistant_turn import parse_assistant
from codling.tokenizer.chat_template import encode_chat
from codling.tokenizer.imported import TextTokenizer


def skill_figures(
    skill: Skill, examples: Sequence[Example], model: Transformer, tokenizer: TextTokenizer, *, max_answer_tokens: int
) -> dict[str, Any]:
    """Answer every example greedily: shares of exact answers, and every answer beside the one expected."""
    prompts = [
        encode_chat(tokenizer, example.prompt, example.tools or None, add_generation_prompt=True).ids
        for example in examples
    ]
    ids_by_prompt = greedy_answers(model, prompts, max_answer_tokens)
    answers = [read_answer(tokenizer, ids) for ids in ids_by_prompt]
    score = mean_score(skill, answers, examples)
    return {
        "exact": score.exact,
        "partial": score.partial,
        "num_examples": score.num_examples,
        "by_category": {
            category: {"exact": part.exact, "num_examples": part.num_examples}
            for category, part in category_scores(skill, answers, examples).items()
        },
        "answers": [
            {
                "request": example.request,
                "expected": example.target._asdict(),
                "answer": answer._asdict(),
                "exact": skill.score(answer, example).exact,
                "category": example.category,
            }
            for example, answer in zip(examples, answers, strict=True)
        ],
    }


def read_answer(tokenizer: TextTokenizer, ids: Sequence[int]) -> Answer:
    """What a model's tokens say, and which calls they make."""
    turn = parse_assistant(tokenizer, ids)
    read = tuple({"name": call.name, "arguments": call.arguments} for call in turn.tool_calls)
    # A call that cannot be read is a call all the same, and a wrong one.
    unread = tuple({"name": "", "arguments": call.text} for call in turn.malformed_calls)
    return Answer(turn.content, read + unread)
