"""One round of the iterative teaching committee (iTeC), as stages (arXiv 2407.21075 section 4.2.2).

    committee -> pairs -> labels -> reward model (anew, on all labels so far)
    committee -> best answers (every member answers, the rewards pick per prompt) -> RS
    start     -> DPO, IPO (on all labels so far), MDLOO (on the rewards)
    all of them, and the members so far -> the next committee

Every box is a stage, so that a round that was killed goes on where it was, and one whose labels people give waits.
"""

from enum import StrEnum

from codling.artifact.stage import Stage
from codling.committee.best_answers import BestAnswersConfig, run_best_answers
from codling.committee.draw_prompts import DrawPromptsConfig, PromptsStageConfig, run_draw_prompts
from codling.committee.elect import AlignedConfig, ElectionConfig, FoundConfig, run_aligned, run_election, run_found
from codling.committee.label_pairs import LabelPairsConfig, run_label_pairs
from codling.committee.prompt_task import RewardWeights
from codling.committee.reward_stage import LABELS_ROLE, RewardStageConfig, run_reward_model
from codling.committee.sample_pairs import SamplePairsConfig, run_sample_pairs
from codling.committee.train_members import (
    OnlineStageConfig,
    run_online,
    run_rejection_sampling,
    run_tune_preferences,
)
from codling.config import config
from codling.data.conversations import ConversationsConfig
from codling.posttrain.rejection_sampling import RejectionSamplingConfig
from codling.posttrain.tune_preferences import PreferenceTuningConfig

PROMPTS_STAGE = "task_prompts"


class TunedStart(StrEnum):
    """What DPO, IPO and MDLOO start from. Unknown in the report."""

    COMMITTEE = "committee"
    """The best member so far."""
    RS = "rs"
    """The round's own RS model, so that the round's gains add up."""


@config
class RoundConfig:
    """Everything that one round does; a method that is left out trains no model."""

    pairs: SamplePairsConfig
    labels: LabelPairsConfig
    rewards: RewardStageConfig
    best_answers: BestAnswersConfig
    rejection_sampling: RejectionSamplingConfig
    dpo: PreferenceTuningConfig | None = None
    ipo: PreferenceTuningConfig | None = None
    mdloo: OnlineStageConfig | None = None
    tuned_start: TunedStart = TunedStart.RS
    """What DPO, IPO and MDLOO start from."""
    election_rewards: RewardWeights = RewardWeights()
    """What the next committee is elected by."""
    max_members: int = 4
    """Of the next committee."""
    max_answer_tokens: int = 64
    """Of the answers that it is elected by."""


@config
class AlignmentConfig:
    """The prompts, and the rounds of each side; no rounds: the fine-tuned model is what is shipped."""

    prompts: DrawPromptsConfig
    server_rounds: tuple[RoundConfig, ...] = ()
    device_rounds: tuple[RoundConfig, ...] = ()
    """They begin with the server's last committee as teachers, and with its labels."""


def alignment_stages(alignment: AlignmentConfig, conversations: ConversationsConfig) -> tuple[Stage, ...]:
    """The rounds of both sides; none, where neither has any.

    They expect the stages conversations, tokenizer, tokens, server_sft, device_sft.
    """
    rounds_by_side = {"server": alignment.server_rounds, "device": alignment.device_rounds}
    if not any(rounds_by_side.values()):
        return ()
    drawn = {"conversations": "conversations"}
    prompts = PromptsStageConfig(conversations=conversations, prompts=alignment.prompts)
    stages = [Stage(PROMPTS_STAGE, "task_prompts", 1, prompts, drawn, run_draw_prompts)]
    labels: list[str] = []
    for side, rounds in rounds_by_side.items():
        if side == "device" and not rounds:
            continue
        founders = {"sft": f"{side}_sft"}
        if side == "device":
            founders["teachers"] = committee_stage("server", len(alignment.server_rounds))
        stages.append(Stage(committee_stage(side, 0), "committee", 1, FoundConfig(side=side), founders, run_found))
        for number, one in enumerate(rounds, start=1):
            stages += round_stages(one, side, number, labels)
            labels.append(f"{side}_round{number}_labels")
        if rounds:
            last = {"committee": committee_stage(side, len(rounds))}
            stages.append(Stage(f"{side}_aligned", "model", 1, AlignedConfig(), last, run_aligned))
    return tuple(stages)


def finished_stage(alignment: AlignmentConfig, side: str) -> str:
    """The stage whose model is the side's finished one."""
    rounds = alignment.server_rounds if side == "server" else alignment.device_rounds
    return f"{side}_aligned" if rounds else f"{side}_sft"


def committee_stage(side: str, round: int) -> str:
    """The name of the stage that ends a round; round 0 is the committee before the first."""
    return f"{side}_round{round}_committee"


def round_stages(config: RoundConfig, side: str, number: int, earlier_labels: list[str]) -> tuple[Stage, ...]:
    """The stages of one round; `earlier_labels` are the label stages of all rounds before."""
    name = f"{side}_round{number}"
    before = {"committee": committee_stage(side, number - 1), "prompts": PROMPTS_STAGE, "tokenizer": "tokenizer"}
    # Roles sort in the order of the rounds: of two verdicts on one pair the newest counts.
    names = [*earlier_labels, f"{name}_labels"]
    labels = {f"{LABELS_ROLE}_{place:03}": stage for place, stage in enumerate(names)}
    rewarded = {"reward_model": f"{name}_rewards"}
    start = {"start": f"{name}_rs" if config.tuned_start is TunedStart.RS else before["committee"]}
    election = ElectionConfig(
        side=side,
        round=number,
        rewards=config.election_rewards,
        max_members=config.max_members,
        max_answer_tokens=config.max_answer_tokens,
    )
    tokens, tokenizer = {"tokens": "tokens"}, {"tokenizer": "tokenizer"}
    online = start | rewarded | {"prompts": PROMPTS_STAGE} | tokenizer
    trained = [
        Stage(
            f"{name}_rs",
            "model",
            1,
            config.rejection_sampling,
            tokens | {"start": before["committee"], "demonstrations": f"{name}_best"},
            run_rejection_sampling,
        )
    ]
    for method, tuning in (("dpo", config.dpo), ("ipo", config.ipo)):
        if tuning is not None:
            inputs = start | tokenizer | labels
            trained.append(Stage(f"{name}_{method}", "model", 1, tuning, inputs, run_tune_preferences))
    if config.mdloo is not None:
        trained.append(Stage(f"{name}_mdloo", "model", 1, config.mdloo, online, run_online))
    new = {stage.name.rpartition("_")[2]: stage.name for stage in trained}
    return (
        Stage(f"{name}_pairs", "pairs", 1, config.pairs, before, run_sample_pairs),
        Stage(f"{name}_labels", "preferences", 1, config.labels, {"pairs": f"{name}_pairs"}, run_label_pairs),
        Stage(
            f"{name}_rewards",
            "reward_model",
            1,
            config.rewards,
            tokenizer | labels | {"model": "server_sft"},
            run_reward_model,
        ),
        Stage(f"{name}_best", "demonstrations", 1, config.best_answers, before | rewarded, run_best_answers),
        *trained,
        Stage(committee_stage(side, number), "committee", 1, election, before | rewarded | new, run_election),
    )
