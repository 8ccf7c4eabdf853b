"""A round of the committee at laptop size; recipes take it and change what they want otherwise."""

from codling.committee.best_answers import BestAnswersConfig
from codling.committee.label_pairs import LabelPairsConfig
from codling.committee.prompt_task import RewardWeights
from codling.committee.reward_stage import RewardStageConfig
from codling.committee.round import RoundConfig
from codling.committee.sample_pairs import SamplePairsConfig
from codling.committee.train_members import OnlineStageConfig
from codling.data.mixture import MixtureWeights
from codling.posttrain.objective import MdlooConfig
from codling.posttrain.online import OnlineConfig
from codling.posttrain.quality_guards import GuardConfig
from codling.posttrain.rejection_sampling import RejectionSamplingConfig
from codling.posttrain.rollout import RolloutConfig
from codling.posttrain.train_rewards import RewardModelConfig
from codling.posttrain.tune_preferences import DpoConfig, IpoConfig, PreferenceLoss, PreferenceTuningConfig
from codling.train.adamw import AdamWConfig
from codling.train.loop import LoopConfig
from codling.train.optimizer import OptimizerConfig
from codling.train.schedule import ScheduleConfig

REWARDS = RewardWeights(check=1.0, reward_model=0.1)
"""The check decides; among answers that it finds equal the reward model does."""
MAX_ANSWER_TOKENS = 64
PREFERENCE_BATCH_ROWS = 8


def laptop_round(
    rs_mixture: MixtureWeights,
    rs_loop: LoopConfig,
    *,
    num_pair_prompts: int,
    num_best_prompts: int,
    num_preference_steps: int,
    num_online_iterations: int,
    row_length_tokens: int,
    num_answers: int = 4,
    max_members: int = 4,
) -> RoundConfig:
    """One round: answers are checked, rewards are mostly checks, and all four methods train a model.

    `rs_mixture` is what RS trains on, best answers among it.
    """

    def tuning(loss: PreferenceLoss, peak_rate: float) -> PreferenceTuningConfig:
        loop = _loop(num_preference_steps, peak_rate, PREFERENCE_BATCH_ROWS)
        return PreferenceTuningConfig(loop=loop, row_length_tokens=row_length_tokens, loss=loss)

    asked = RolloutConfig(num_answers=num_answers, max_answer_tokens=MAX_ANSWER_TOKENS)
    return RoundConfig(
        pairs=SamplePairsConfig(num_prompts=num_pair_prompts, rollout=asked, pairs_per_prompt=2),
        labels=LabelPairsConfig(),
        rewards=RewardStageConfig(
            training=RewardModelConfig(
                loop=_loop(num_preference_steps, 5e-4, PREFERENCE_BATCH_ROWS), row_length_tokens=row_length_tokens
            )
        ),
        best_answers=BestAnswersConfig(
            num_prompts=num_best_prompts,
            rollout=asked,
            guards=GuardConfig(row_length_tokens=row_length_tokens),
            rewards=REWARDS,
        ),
        rejection_sampling=RejectionSamplingConfig(
            loop=rs_loop, sequence_length_tokens=row_length_tokens, mixture=rs_mixture
        ),
        dpo=tuning(DpoConfig(), 1e-4),
        ipo=tuning(IpoConfig(), 1e-4),
        mdloo=OnlineStageConfig(
            training=OnlineConfig(
                num_iterations=num_online_iterations,
                num_prompts=32,
                rollout=RolloutConfig(num_answers=8, max_answer_tokens=MAX_ANSWER_TOKENS),
                optimizer=_optimizer(1e-4, warmup_steps=4),
                objective=MdlooConfig(),
                num_epochs=1,
                batch_size_prompts=16,
            ),
            rewards=REWARDS,
        ),
        election_rewards=REWARDS,
        max_members=max_members,
    )


def _loop(num_steps: int, peak_rate: float, batch_size_rows: int) -> LoopConfig:
    return LoopConfig(
        num_steps=num_steps,
        batch_size_rows=batch_size_rows,
        optimizer=_optimizer(peak_rate, warmup_steps=max(1, num_steps // 10)),
        save_every_steps=100,
        log_every_steps=10,
    )


def _optimizer(peak_rate: float, *, warmup_steps: int) -> OptimizerConfig:
    schedule = ScheduleConfig(peak_rate=peak_rate, warmup_steps=warmup_steps, final_fraction=0.1)
    return OptimizerConfig(schedule=schedule, rule=AdamWConfig())
