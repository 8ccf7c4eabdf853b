"""The evaluation stage: what the finished bundles can do, read back from their files as users run them."""

import json
import time
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from codling.artifact.bundle import NO_ADAPTER, Bundle, load_bundle, with_adapter
from codling.artifact.model_files import load_model
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.conversations import ConversationsConfig, build_skill
from codling.data.prepare import open_corpus
from codling.evaluate.answers import greedy_answers
from codling.evaluate.heldout import heldout_figures
from codling.evaluate.skills import skill_figures
from codling.model.transformer import Transformer
from codling.skills.example_files import read_examples
from codling.tokenizer.imported import TextTokenizer

MEASUREMENTS_FILE = "measurements.json"
"""Everything measured, with the answers that were scored."""
DENSE_MODELS = ("server_sft", "device_sft", "device_aligned")
"""Measured on the skills alone where they are among the inputs: alignment is judged by what it changed."""

NUM_EXAMPLES = 5
"""Answers of a feature that its adapter changed, to be read by people."""


@config
class MeasureConfig:
    """How much is measured."""

    conversations: ConversationsConfig
    """The held-out conversations."""
    skill_by_feature: dict[str, str]
    """Adapter of the device bundle -> the skill that it learned."""
    story_beginnings: tuple[str, ...]
    """Plain text that each model goes on with, to be read by people."""
    max_answer_tokens: int = 64
    max_story_tokens: int = 120
    sequence_length_tokens: int = 256
    rows_per_kind: int = 32
    """Held-out rows of each kind of text."""


def run_measure(config: MeasureConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Measure server and device. Inputs: server, device (bundles), tokens, conversations; dense models to compare."""
    bundles = {
        "server": load_bundle(inputs["server"].path),
        "device": load_bundle(inputs["device"].path),
        "device_without_adapter": load_bundle(inputs["device"].path, NO_ADAPTER),
    }
    dense = {role: inputs[role].path for role in DENSE_MODELS if role in inputs}
    corpus = open_corpus(inputs["tokens"].path)
    detail: dict[str, Any] = {}
    with out.progress(len(bundles) + len(dense) + len(config.skill_by_feature)) as progress:
        for name, bundle in bundles.items():
            detail[name] = {
                "heldout": heldout_figures(
                    bundle.model,
                    corpus,
                    row_length_tokens=config.sequence_length_tokens,
                    rows_per_kind=config.rows_per_kind,
                    with_skills=True,
                ),
                "skills": _skills(config, inputs, bundle.model, bundle.tokenizer),
                "stories": _stories(config, bundle.model, bundle.tokenizer),
                "identity": bundle.identity,
            }
            progress.update(len(detail))
        for name, path in dense.items():
            detail[name] = {
                "skills": _skills(config, inputs, load_model(path), corpus.tokenizer),
                "identity": inputs[name].manifest.id,
            }
            progress.update(len(detail))
        features, swap_ms = _features(config, inputs, bundles["device"], detail)
        progress.update(len(detail) + len(features))
    detail["adapters"] = features
    (out.path / MEASUREMENTS_FILE).write_text(json.dumps(detail, indent=1, ensure_ascii=False), encoding="utf-8")
    return {
        name: {
            **({"heldout": values["heldout"]} if "heldout" in values else {}),
            "skills_exact": {skill: figures["exact"] for skill, figures in values["skills"].items()},
        }
        for name, values in detail.items()
        if name != "adapters"
    } | {
        "adapters": {
            name: {key: part for key, part in found.items() if key != "examples"} for name, found in features.items()
        },
        "swap_ms": swap_ms,
    }


def _features(
    config: MeasureConfig, inputs: Inputs, device: Bundle, detail: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Each feature's adapter on its own skill, next to the recovery adapter and to no adapter at all; times of swaps.

    Times are no part of what is measured of the models, which is the same in every run.
    """
    found, swap_ms = {}, {}
    for name, skill in config.skill_by_feature.items():
        start_s = time.perf_counter()
        adapted = with_adapter(device, name)
        jax.tree.map(lambda leaf: leaf.block_until_ready(), adapted.model)
        swap_ms[name] = 1e3 * (time.perf_counter() - start_s)
        figures = _skill(config, inputs, skill, adapted.model, adapted.tokenizer)
        recovered, bare = (detail[role]["skills"][skill] for role in ("device", "device_without_adapter"))
        pairs = list(zip(recovered["answers"], figures["answers"], strict=True))
        found[name] = {
            "skill": skill,
            "unit": "exact",
            "bare": bare["exact"],
            "recovered": recovered["exact"],
            "adapted": figures["exact"],
            "num_prompts": figures["num_examples"],
            "won": sum(ours["exact"] and not theirs["exact"] for theirs, ours in pairs),
            "lost": sum(theirs["exact"] and not ours["exact"] for theirs, ours in pairs),
            "examples": [
                {
                    "prompt": ours["request"],
                    "expected": _said(ours["expected"]),
                    "recovered": _said(theirs["answer"]),
                    "adapted": _said(ours["answer"]),
                }
                for theirs, ours in pairs
                if ours["exact"] != theirs["exact"]
            ][:NUM_EXAMPLES],
        }
    return found, swap_ms


def _said(answer: dict[str, Any]) -> str:
    """An answer in one line: its text, then its calls."""
    calls = [json.dumps(call, ensure_ascii=False) for call in answer["tool_calls"]]
    return " ".join(part for part in (answer["text"], *calls) if part)


def _skills(config: MeasureConfig, inputs: Inputs, model: Transformer, tokenizer: TextTokenizer) -> dict[str, Any]:
    names = config.conversations.num_train_by_skill
    return {name: _skill(config, inputs, name, model, tokenizer) for name in names}


def _skill(
    config: MeasureConfig, inputs: Inputs, name: str, model: Transformer, tokenizer: TextTokenizer
) -> dict[str, Any]:
    return skill_figures(
        build_skill(name, config.conversations),
        read_examples(inputs["conversations"].path / "heldout" / f"{name}.jsonl"),
        model,
        tokenizer,
        max_answer_tokens=config.max_answer_tokens,
    )


def _stories(config: MeasureConfig, model: Transformer, tokenizer: TextTokenizer) -> list[dict[str, str]]:
    prompts = [[*tokenizer.begin_ids, *tokenizer.encode(text)] for text in config.story_beginnings]
    answers = greedy_answers(model, prompts, config.max_story_tokens)
    return [
        {"beginning": beginning, "continuation": tokenizer.decode(answer)}
        for beginning, answer in zip(config.story_beginnings, answers, strict=True)
    ]
