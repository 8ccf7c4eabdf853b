"""The whole recipe at laptop size: two cores, a quarter of an hour.

Sizes, steps and rates were chosen by trials on two cores (`bench/results/LOG.md`): every stage is long enough that its
work can be measured, and no longer.
"""

from dataclasses import replace

from codling.committee.draw_prompts import DrawPromptsConfig
from codling.committee.round import AlignmentConfig, RoundConfig
from codling.data.conversations import ConversationsConfig
from codling.data.long_questions import Category, QuestionsConfig, QuestionWords
from codling.data.mixture import MixtureWeights
from codling.data.sources import CorpusConfig
from codling.evaluate.retrieval import RetrievalConfig
from codling.model.config import named_size
from codling.ondevice.adapt import AdaptConfig
from codling.ondevice.compress_blocks import CompressConfig
from codling.ondevice.compress_stage import CompressStageConfig
from codling.ondevice.recover import RecoverConfig
from codling.posttrain.rejection_sampling import BEST_ANSWERS
from codling.posttrain.sft import SftConfig
from codling.pretrain.distill import DistillConfig
from codling.pretrain.long_context import LongContextConfig
from codling.pretrain.prune import PruneConfig
from codling.pretrain.text_stage import TextStageConfig
from codling.recipes.recipe import Recipe
from codling.recipes.rounds import laptop_round
from codling.tokenizer.train import TokenizerConfig
from codling.train.adamw import AdamWConfig
from codling.train.adastar import AdaStarConfig
from codling.train.loop import LoopConfig
from codling.train.optimizer import OptimizerConfig, Rule
from codling.train.schedule import Decay, ScheduleConfig

CORE_MIXTURE = MixtureWeights(share_by_kind={"stories": 0.7, "tales": 0.15, "guides": 0.1, "textbooks": 0.05})
"""Broad: mostly the simplest text."""
CONTINUED_MIXTURE = MixtureWeights(
    share_by_kind={"stories": 0.125, "tales": 0.175, "guides": 0.1, "textbooks": 0.1, "short_questions": 0.5}
)
"""Shifted to longer and harder text, as the report shifts from web pages to code, mathematics and licensed text; and
questions that fit a row, so that all that is new to context-lengthening is the length."""
LONG_MIXTURE = MixtureWeights(share_by_kind={"stories": 0.1, "tales": 0.35, "textbooks": 0.05, "long_questions": 0.5})
"""Mostly documents that are longer than the rows before, and questions about such."""
ANSWER_WEIGHT = 10.0
"""A row of questions has a dozen tokens to learn from where one of text has all."""
QUESTION_WORDS = QuestionWords(num_names=8, num_values=16)
CATEGORY_SHARES: dict[Category, float] = {"one_fact": 0.9, "several_facts": 0.05, "overwritten_fact": 0.05}
"""Mostly what a model of this size can learn: finding one fact; telling several apart takes far longer (LOG)."""
SFT_MIXTURE = MixtureWeights(share_by_kind={"tool_calls": 0.5, "intents": 0.1, "story_answers": 0.32, "stories": 0.08})
RS_MIXTURE = MixtureWeights(
    share_by_kind={"tool_calls": 0.35, "intents": 0.14, "story_answers": 0.23, "stories": 0.06, BEST_ANSWERS: 0.22}
)
"""The best answers, among demonstrations and text; more of intents, which no prompt asks for."""

SHORT_ROW_TOKENS, LONG_ROW_TOKENS = 256, 1024
SHORT_BATCH_ROWS, LONG_BATCH_ROWS = 4, 2
"""Small batches: at a given number of tokens 1,024 a step learned far more than 4,096 (`bench/results/LOG.md`)."""
SFT_RATE = 4e-3
PRETRAINING_RULE, SFT_RULE = AdamWConfig(), AdaStarConfig()
"""The report's optimizer is AdaStar. In so few steps AdamW learns more in pre-training, and AdaStar in fine-tuning
(`bench/results/LOG.md`)."""


def quickstart() -> Recipe:
    """Server of 1.2M parameters, device of 0.6M pruned from 0.9M, on two cores."""
    return Recipe(
        name="quickstart",
        seed=0,
        corpus=CorpusConfig(),
        tokenizer=TokenizerConfig(vocab_size=2048),
        conversations=ConversationsConfig(
            num_train_by_skill={"tool_calls": 12_000, "intents": 5_000, "story_answers": 8_000},
            num_heldout=200,
            new_words=False,
        ),
        questions={
            "short_questions": questions(6_000, 24, SHORT_ROW_TOKENS, short_leaning=2.0),
            "long_questions": questions(1_500, SHORT_ROW_TOKENS, LONG_ROW_TOKENS),
        },
        server_model=named_size("quickstart_server"),
        device_parent_model=named_size("quickstart_device_parent"),
        server_core=text_stage(640, 4e-3, CORE_MIXTURE, warmup_steps=60, data_seed=0),
        device_parent_core=text_stage(280, 4e-3, CORE_MIXTURE, warmup_steps=40, data_seed=1),
        device_prune=PruneConfig(
            ffn_dim=named_size("quickstart_device").ffn_dim,
            text=text_stage(64, 2e-3, CORE_MIXTURE, warmup_steps=8, data_seed=5),
        ),
        device_distill=DistillConfig(text=text_stage(320, 4e-3, CORE_MIXTURE, warmup_steps=40, data_seed=2)),
        server_continued=text_stage(260, 3e-3, CONTINUED_MIXTURE, warmup_steps=20, data_seed=3),
        device_continued=text_stage(260, 3e-3, CONTINUED_MIXTURE, warmup_steps=20, data_seed=3),
        server_long_context=long_context(60, 1e-3),
        device_long_context=long_context(60, 1e-3),
        server_sft=sft(1400, SFT_RATE),
        device_sft=sft(1400, SFT_RATE),
        alignment=alignment(),
        device_compress=CompressStageConfig(
            compress=CompressConfig(target_bits_per_weight=3.7),
            mixture=SFT_MIXTURE,
            sequence_length_tokens=SHORT_ROW_TOKENS,
            num_batches=16,
            batch_size_rows=SHORT_BATCH_ROWS,
        ),
        device_recover=RecoverConfig(
            loop=loop(80, 1e-3, SHORT_BATCH_ROWS, warmup_steps=8),
            sequence_length_tokens=SHORT_ROW_TOKENS,
            mixture=SFT_MIXTURE,
            heldout_rows_per_kind=8,
        ),
        device_features={
            "tool_calls": feature("tool_calls"),
            "intents": feature("intents"),
            "short_answers": feature("story_answers"),
        },
        story_beginnings=(
            "Once upon a time, there was a little",
            "One day, Tom and his dog went to the park.",
            "The sun was hot and Lily wanted to",
        ),
    )


def alignment() -> AlignmentConfig:
    """One round a side, on prompts that fine-tuning has no answers to. The device's begins with more members."""
    server = alignment_round(num_pair_prompts=350, num_best_prompts=1_000)
    device = alignment_round(num_pair_prompts=200, num_best_prompts=400, num_answers=2)
    return AlignmentConfig(
        prompts=DrawPromptsConfig(
            num_train_by_skill={"tool_calls": 2_000, "story_answers": 800},
            num_validation=150,
        ),
        server_rounds=(replace(server, max_members=3),),
        device_rounds=(device,),
    )


def alignment_round(*, num_pair_prompts: int, num_best_prompts: int, num_answers: int = 4) -> RoundConfig:
    """A round whose RS goes on at fine-tuning's rate, and lets it fall."""
    return laptop_round(
        RS_MIXTURE,
        loop(640, SFT_RATE, SHORT_BATCH_ROWS, warmup_steps=20, rule=SFT_RULE),
        num_pair_prompts=num_pair_prompts,
        num_best_prompts=num_best_prompts,
        num_preference_steps=30,
        num_online_iterations=4,
        row_length_tokens=SHORT_ROW_TOKENS,
        num_answers=num_answers,
    )


def feature(skill: str) -> AdaptConfig:
    """An adapter for one skill."""
    return AdaptConfig(
        loop=loop(200, 8e-3, SHORT_BATCH_ROWS, warmup_steps=20),
        sequence_length_tokens=SHORT_ROW_TOKENS,
        mixture=MixtureWeights(share_by_kind={skill: 1.0}),
    )


def loop(
    num_steps: int,
    peak_rate: float,
    batch_size_rows: int,
    *,
    warmup_steps: int,
    rule: Rule = PRETRAINING_RULE,
    decay: Decay = Decay.COSINE,
) -> LoopConfig:
    """A stage's loop."""
    schedule = ScheduleConfig(peak_rate=peak_rate, warmup_steps=warmup_steps, final_fraction=0.05, decay=decay)
    return LoopConfig(
        num_steps=num_steps,
        batch_size_rows=batch_size_rows,
        optimizer=OptimizerConfig(schedule=schedule, rule=rule),
        save_every_steps=100,
        log_every_steps=10,
    )


def text_stage(
    num_steps: int, peak_rate: float, mixture: MixtureWeights, *, warmup_steps: int, data_seed: int
) -> TextStageConfig:
    """A pre-training stage on short rows."""
    return TextStageConfig(
        loop=loop(num_steps, peak_rate, SHORT_BATCH_ROWS, warmup_steps=warmup_steps),
        sequence_length_tokens=SHORT_ROW_TOKENS,
        mixture=mixture,
        data_seed=data_seed,
        answer_weight=ANSWER_WEIGHT,
    )


def questions(
    num_documents: int, min_length_tokens: int, max_length_tokens: int, *, short_leaning: float = 1.0
) -> QuestionsConfig:
    """Long question answering of some lengths."""
    return QuestionsConfig(
        num_documents=num_documents,
        min_length_tokens=min_length_tokens,
        max_length_tokens=max_length_tokens,
        short_leaning=short_leaning,
        share_by_category=CATEGORY_SHARES,
        words=QUESTION_WORDS,
    )


def long_context(num_steps: int, peak_rate: float) -> LongContextConfig:
    """Four times the context, with the base raised as AXLearn raises it for eight times."""
    return LongContextConfig(
        text=TextStageConfig(
            loop=loop(num_steps, peak_rate, LONG_BATCH_ROWS, warmup_steps=5),
            sequence_length_tokens=LONG_ROW_TOKENS,
            mixture=LONG_MIXTURE,
            data_seed=4,
            heldout_rows_per_kind=8,
            answer_weight=ANSWER_WEIGHT,
        ),
        rope_theta=6_315_089.0,
        measured_kind="tales",
        retrieval=RetrievalConfig(
            lengths_tokens=(128, 256, 512, 1024),
            num_documents_by_category={"one_fact": 6, "several_facts": 2, "overwritten_fact": 2},
            words=QUESTION_WORDS,
        ),
    )


def sft(num_steps: int, peak_rate: float, decay: Decay = Decay.CONSTANT) -> SftConfig:
    """Fine-tuning on short rows, at a constant rate, as in the report.

    The rate itself is that of core training: the report's low one is for a model that has learned most of what it will
    ever know, and here the stage teaches nearly everything, copying from the request above all.
    """
    return SftConfig(
        loop=loop(num_steps, peak_rate, SHORT_BATCH_ROWS, warmup_steps=100, rule=SFT_RULE, decay=decay),
        sequence_length_tokens=SHORT_ROW_TOKENS,
        mixture=SFT_MIXTURE,
        dropout=0.0,  # every conversation is seen once or twice: there is nothing to overfit
    )
