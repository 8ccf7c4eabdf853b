"""The stage that draws pairs of answers to compare: what the labels of a round are asked for.

    pairs artifact:  pairs.jsonl, one `committee.candidates.CandidatePair` a line

The report samples pairs from the committee; how a pair is chosen among a prompt's answers is not published. Ours: two
different answers by two members where there are two, drawn by lot.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.committee.candidates import PAIRS_FILE, CandidatePair, write_candidates
from codling.committee.committee import open_members
from codling.committee.draw_prompts import TRAIN_FILE
from codling.committee.prompt_task import encode_prompt
from codling.committee.sampled_answers import SampledAnswer, room_for, sample_answers
from codling.committee.task_prompts import TaskPrompt, read_task_prompts
from codling.config import config
from codling.errors import UserError
from codling.posttrain.preferences import are_equal
from codling.posttrain.rollout import RolloutConfig
from codling.tokenizer.encode import Tokenizer
from codling.train.seed import seed_from
from codling.train.sharding import data_mesh


@config
class SamplePairsConfig:
    """How much is asked, and how it is answered."""

    num_prompts: int
    """Prompts of the round, drawn by lot, or all where there are fewer; each gives at most pairs_per_prompt pairs."""
    rollout: RolloutConfig
    """num_answers is of each member."""
    temperature: float = 1.0
    pairs_per_prompt: int = 1

    def __post_init__(self) -> None:
        if min(self.num_prompts, self.pairs_per_prompt) < 1:
            raise ValueError("num_prompts and pairs_per_prompt must be >= 1")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be at least 0, and finite")


def run_sample_pairs(config: SamplePairsConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Draw pairs. Inputs: committee, prompts, tokenizer. Errors: `UserError` where no two answers differ."""
    members = open_members(inputs["committee"].path)
    tokenizer = Tokenizer.load(inputs["tokenizer"].path)
    prompts = read_task_prompts(inputs["prompts"].path / TRAIN_FILE)
    random = np.random.default_rng(seed_from(key))
    spelled = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    places = room_for(spelled, config.rollout, [member.model for member in members])
    chosen = sorted(random.permutation(places)[: config.num_prompts].tolist())
    asked = [prompts[place] for place in chosen]
    with out.progress(1) as progress:
        mesh = data_mesh(config.rollout.batch_size_prompts)
        answers = sample_answers(
            members,
            config.rollout,
            [spelled[place] for place in chosen],
            tokenizer,
            jax.random.fold_in(key, 1),
            mesh,
            config.temperature,
        )
        progress.update(1)
    pairs = [
        pair
        for prompt, found in zip(asked, answers, strict=True)
        for pair in draw_pairs(prompt, found, config.pairs_per_prompt, random)
    ]
    if not pairs:
        raise UserError(f"{out.name}: no prompt got two different whole answers; raise temperature or num_answers")
    write_candidates(out.path / PAIRS_FILE, pairs)
    return {
        "num_prompts": len(asked),
        "num_prompts_without_room": len(prompts) - len(places),
        "num_answers": sum(map(len, answers)),
        "num_unusable_answers": sum(answer.message is None for found in answers for answer in found),
        "num_pairs": len(pairs),
        "num_by_member": dict(sorted(Counter(name for pair in pairs for name in pair.members).items())),
    }


def draw_pairs(
    prompt: TaskPrompt, answers: Sequence[SampledAnswer], count: int, random: np.random.Generator
) -> list[CandidatePair]:
    """Pairs of different answers; no answer is in two of them, and of equal ones one alone is used.

    Fewer than asked for where there are no more.
    """
    left = [answers[place] for place in random.permutation(len(answers)) if answers[place].message is not None]
    pairs: list[CandidatePair] = []
    while len(left) > 1 and len(pairs) < count:
        first = left.pop(0)
        others = [other for other in left if _differ(first, other)]
        # An answer of another member where there is one.
        other = next((other for other in others if other.member != first.member), next(iter(others), None))
        if other is None:
            continue
        left = [answer for answer in others if _differ(answer, other)]
        assert first.message is not None
        assert other.message is not None
        pairs.append(
            CandidatePair(prompt=prompt, answers=(first.message, other.message), members=(first.member, other.member))
        )
    return pairs


def _differ(first: SampledAnswer, second: SampledAnswer) -> bool:
    assert first.message is not None
    assert second.message is not None
    return not are_equal(first.message, second.message)
