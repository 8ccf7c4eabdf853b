"""How well the pair does what it was tuned to do, beside trivial ways to answer; and some of its answers."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from codling.artifact.stage import Inputs
from codling.skills.example_files import read_examples
from codling.skills.skill import Example, Message

Z_95 = 1.959964
"""Two-sided 95% quantile of the normal distribution."""
EXAMPLES_SHOWN = 3
"""Right ones and wrong ones of each skill."""

MODELS = {
    "server": "Server",
    "server_sft": "Server, fine-tuned only",
    "device": "Device",
    "device_without_adapter": "Device without adapter",
    "device_aligned": "Device, not compressed",
    "device_sft": "Device, fine-tuned only",
}
"""Server and device are the finished bundles, and always there; not every build has measured all the others."""

TITLES = {
    "tool_calls": "Calendar and reminder calls",
    "intents": "Intents of real requests",
    "story_answers": "Short answers from a story",
    "proofread": "Proofreading",
    "arithmetic": "Arithmetic in worked steps",
    "formats": "Short texts in a given form",
}
EXACT_MEANS = {
    "tool_calls": "Exact: one call with the same tool and the same arguments, character by character. Where no tool is"
    " needed, exact only means that none was called, whatever the words.",
    "intents": "Exact: the same intent. Requests from the test part of CLINC150; intents that the recipe does not list"
    " must be answered “other”.",
    "story_answers": "Exact: the same words. Names, places and things of the made-up stories never occur in the"
    " training questions; “real” ones are about openings of real stories.",
    "arithmetic": "Exact: the last number of the answer is the result, whatever the steps before it.",
    "formats": "Exact: the text meets every demand of the request, and has the words that a sentence needs. Any such"
    " text is right.",
}


class Interval(NamedTuple):
    """A confidence interval of a share."""

    low: float
    high: float


class Score(NamedTuple):
    """Who answered, and how often exactly right."""

    name: str
    kind: Literal["model", "baseline"]
    exact: float
    num_right: int
    num_examples: int
    interval: Interval
    standing: Literal["above", "below", "even", ""]
    """A model against the best baseline; even: the baseline lies within the model's interval."""


class ShownExample(NamedTuple):
    """One conversation and what the models answered."""

    category: str
    messages: tuple[Message, ...]
    expected: Mapping[str, Any]
    answers: dict[str, Mapping[str, Any]]
    """Model -> text, tool_calls, exact."""
    exact: bool
    """Whether the device model was right."""


class SkillReport(NamedTuple):
    """One skill's part of the page."""

    name: str
    title: str
    exact_means: str
    scores: tuple[Score, ...]
    best_baseline: Score | None
    models: tuple[str, ...]
    """Those that were measured, in the order of `MODELS`."""
    by_category: dict[str, dict[str, Score]]
    """Category -> model -> score."""
    examples: tuple[ShownExample, ...]

    def score_of(self, model: str) -> Score:
        """A model's score."""
        return next(score for score in self.scores if score.name == MODELS[model])


def wilson_interval(num_right: int, num_examples: int) -> Interval:
    """95% interval of a share (Wilson 1927): stays within 0 and 1, and is honest at both ends."""
    share, z2 = num_right / num_examples, Z_95**2
    center = share + z2 / (2 * num_examples)
    spread = Z_95 * math.sqrt(share * (1 - share) / num_examples + z2 / (4 * num_examples**2))
    scale = 1 + z2 / num_examples
    return Interval(max(0.0, (center - spread) / scale), min(1.0, (center + spread) / scale))


def skill_reports(measured: Mapping[str, Any], inputs: Inputs) -> list[SkillReport]:
    """Every skill that was measured. `measured` is what the measuring stage wrote, by model."""
    conversations = inputs["conversations"]
    baselines = conversations.manifest.metrics["skills"]
    return [
        _skill_report(
            name,
            {model: measured[model]["skills"][name] for model in MODELS if name in _skills_of(measured, model)},
            baselines[name]["baselines"],
            read_examples(conversations.path / "heldout" / f"{name}.jsonl"),
        )
        for name in measured["device"]["skills"]
    ]


def skill_title(name: str) -> str:
    """What the page calls a skill."""
    return TITLES.get(name, name.replace("_", " ").capitalize())


def _skills_of(measured: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    skills: Mapping[str, Any] = measured.get(model, {}).get("skills", {})
    return skills


def _skill_report(
    name: str, figures: Mapping[str, Any], baselines: Mapping[str, float], examples: Sequence[Example]
) -> SkillReport:
    num_examples = figures["device"]["num_examples"]
    trivial = [_score(who, "baseline", share, num_examples) for who, share in baselines.items()]
    best = max(trivial, key=lambda score: score.exact, default=None)
    models = [_score(MODELS[model], "model", part["exact"], num_examples, best) for model, part in figures.items()]
    categories = {
        category: {
            model: _score(MODELS[model], "model", part["by_category"][category]["exact"], counted["num_examples"])
            for model, part in figures.items()
        }
        for category, counted in figures["device"]["by_category"].items()
    }
    return SkillReport(
        name=name,
        title=skill_title(name),
        exact_means=EXACT_MEANS.get(name, ""),
        scores=(*models, *sorted(trivial, key=lambda score: -score.exact)),
        best_baseline=best,
        models=tuple(figures),
        by_category=categories,
        examples=_shown(figures, examples),
    )


def _score(
    name: str, kind: Literal["model", "baseline"], exact: float, num_examples: int, best: Score | None = None
) -> Score:
    num_right = round(exact * num_examples)
    interval = wilson_interval(num_right, num_examples)
    standing: Literal["above", "below", "even", ""] = ""
    if best is not None:
        standing = "above" if interval.low > best.exact else "below" if interval.high < best.exact else "even"
    return Score(name, kind, exact, num_right, num_examples, interval, standing)


def _shown(figures: Mapping[str, Any], examples: Sequence[Example]) -> tuple[ShownExample, ...]:
    """The device's first right and first wrong answers, one of each category before a second of any."""
    rows = list(zip(examples, figures["device"]["answers"], figures["server"]["answers"], strict=True))
    chosen: list[int] = []
    for wanted in (True, False):
        found = [index for index, (_, device, _) in enumerate(rows) if device["exact"] is wanted]
        first = {rows[index][0].category: index for index in reversed(found)}
        order = sorted(first.values()) + [index for index in found if index not in first.values()]
        chosen += sorted(order[:EXAMPLES_SHOWN])
    return tuple(_shown_example(*rows[index]) for index in chosen)


def _shown_example(example: Example, device: Mapping[str, Any], server: Mapping[str, Any]) -> ShownExample:
    answers: dict[str, Mapping[str, Any]] = {
        model: {"exact": answer["exact"], **_readable(answer["answer"])}
        for model, answer in (("device", device), ("server", server))
    }
    messages = tuple(_readable(message) for message in example.prompt)
    return ShownExample(example.category, messages, _readable(example.target._asdict()), answers, device["exact"])


def _readable(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message whose tool calls have their arguments by name where they can be read; else as raw text."""
    calls = []
    for call in message.get("tool_calls") or ():
        arguments = call["arguments"]
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except json.JSONDecodeError:
                arguments = None
        named = arguments if isinstance(arguments, dict) else None
        calls.append({"name": call["name"], "arguments": named, "raw": call["arguments"]})
    text = message.get("text", message.get("content", ""))
    return {"role": message.get("role", "assistant"), "text": text, "tool_calls": calls}
