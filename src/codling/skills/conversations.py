"""One stream of conversations from several skills, each with its share; what supervised fine-tuning reads."""

from collections.abc import Mapping, Sequence

from codling.errors import UserError
from codling.skills.skill import Example, Skill, Split, random_for


def build_conversations(
    skills: Sequence[Skill], weights: Mapping[str, float], count: int, seed: int, split: Split = "train"
) -> list[Example]:
    """Draw `count` examples, shared out by weight and interleaved so that every stretch has about the
    same shares.

    Errors: `UserError` for a skill without a weight, a weight without a skill, a weight that is not
    positive, or two skills of one name.
    """
    names = [skill.name for skill in skills]
    if len(set(names)) != len(names):
        raise UserError(f"skills: '{max(names, key=names.count)}' is named twice; give each skill once")
    if unmatched := sorted(set(names) ^ weights.keys()):
        raise UserError(f"skills: '{unmatched[0]}' needs both a skill and a weight; the skills are {', '.join(names)}")
    if wrong := [name for name in names if not weights[name] > 0]:
        raise UserError(f"skills: the weight of '{wrong[0]}' is {weights[wrong[0]]}; it must be above 0")
    placed: list[tuple[float, Example]] = []
    for skill, number in zip(skills, share_out([weights[name] for name in names], count), strict=True):
        rng = random_for(f"mixture/{skill.name}", split, seed)
        examples = skill.examples(split, number, seed) if number else []
        placed += [((i + rng.random()) / number, example) for i, example in enumerate(examples)]
    return [example for _, example in sorted(placed, key=lambda pair: pair[0])]


def share_out(weights: Sequence[float], count: int) -> list[int]:
    """Part a count by weights, by largest remainder: the parts are whole and add up to the count."""
    exact = [count * weight / sum(weights) for weight in weights]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: count - sum(parts)]:
        parts[i] += 1
    return parts
