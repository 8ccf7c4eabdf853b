"""A pair for one GPU and some megabytes of one's own text: about 110M and 50M parameters, and proofreading as a skill.

Steps and rates are scaled from the quickstart's and have not been run at full length. Proofreading works from 1.25M
parameters and 2.0M tokens of fine-tuning on (52% exact; 68.5% after 5.1M: `bench/results/proofread.json`); here it has
26M of 65M tokens.
"""

from dataclasses import replace

from codling.committee.round import RoundConfig
from codling.data.long_questions import NAMES, VALUES, Category, QuestionsConfig, QuestionWords
from codling.data.mixture import MixtureWeights
from codling.model.config import named_size
from codling.posttrain.rejection_sampling import BEST_ANSWERS
from codling.pretrain.long_context import LongContextConfig
from codling.pretrain.text_stage import TextStageConfig
from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import Recipe
from codling.tokenizer.train import TokenizerConfig
from codling.train.adastar import AdaStarConfig
from codling.train.loop import LoopConfig

ROW_TOKENS, LONG_ROW_TOKENS = 1024, 4096
BATCH_SIZE_ROWS, LONG_BATCH_SIZE_ROWS = 32, 8
QUESTION_WORDS = QuestionWords(num_names=len(NAMES), num_values=len(VALUES), new_words=True)
CATEGORY_SHARES: dict[Category, float] = {"one_fact": 1.0, "several_facts": 1.0, "overwritten_fact": 1.0}
SFT_STEPS = 2000
SFT_DROPOUT = 0.1
"""The report's; the quickstart has none."""
SFT_MIXTURE = MixtureWeights(
    share_by_kind={"tool_calls": 0.25, "intents": 0.1, "story_answers": 0.15, "proofread": 0.4, "stories": 0.1}
)
RS_MIXTURE = MixtureWeights(
    share_by_kind={
        "tool_calls": 0.2,
        "intents": 0.1,
        "story_answers": 0.12,
        "proofread": 0.32,
        "stories": 0.06,
        BEST_ANSWERS: 0.2,
    }
)


def mini() -> Recipe:
    """Server of 109M parameters, device of 50M pruned from 103M; with proofreading."""
    recipe = quickstart()
    train_counts = recipe.conversations.num_train_by_skill | {"proofread": 40_000}
    return replace(
        recipe,
        name="mini",
        tokenizer=TokenizerConfig(vocab_size=named_size("mini_server").vocab_size),
        conversations=replace(recipe.conversations, num_train_by_skill=train_counts, new_words=True),
        questions={
            "short_questions": _questions(recipe.questions["short_questions"], 40_000, 64, ROW_TOKENS),
            "long_questions": _questions(recipe.questions["long_questions"], 20_000, ROW_TOKENS, LONG_ROW_TOKENS),
        },
        server_model=named_size("mini_server"),
        device_parent_model=named_size("mini_device_parent"),
        device_prune=replace(
            recipe.device_prune,
            ffn_dim=named_size("mini_device").ffn_dim,
            text=_text(recipe.device_prune.text, 600, 5e-4),
        ),
        server_core=_text(recipe.server_core, 6000, 1e-2),
        device_parent_core=_text(recipe.device_parent_core, 3000, 1e-2),
        device_distill=replace(recipe.device_distill, text=_text(recipe.device_distill.text, 4000, 1e-2)),
        server_continued=_text(recipe.server_continued, 800, 3e-4),
        device_continued=_text(recipe.device_continued, 800, 3e-4),
        server_long_context=_longer(recipe.server_long_context),
        device_long_context=_longer(recipe.device_long_context),
        server_sft=replace(
            recipe.server_sft,
            loop=_loop(recipe.server_sft.loop, SFT_STEPS, 3e-4),
            sequence_length_tokens=ROW_TOKENS,
            mixture=SFT_MIXTURE,
            dropout=SFT_DROPOUT,
        ),
        device_sft=replace(
            recipe.device_sft,
            loop=_loop(recipe.device_sft.loop, SFT_STEPS, 5e-4),
            sequence_length_tokens=ROW_TOKENS,
            mixture=SFT_MIXTURE,
            dropout=SFT_DROPOUT,
        ),
        alignment=replace(
            recipe.alignment,
            server_rounds=tuple(_round(one, 3e-4) for one in recipe.alignment.server_rounds),
            device_rounds=tuple(_round(one, 5e-4) for one in recipe.alignment.device_rounds),
        ),
        device_compress=replace(
            recipe.device_compress, sequence_length_tokens=ROW_TOKENS, num_batches=64, mixture=SFT_MIXTURE
        ),
        device_features={
            name: replace(feature, loop=_loop(feature.loop, 500, 3e-4), sequence_length_tokens=ROW_TOKENS)
            for name, feature in recipe.device_features.items()
        },
        device_recover=replace(
            recipe.device_recover,
            loop=_loop(recipe.device_recover.loop, 500, 3e-4),
            sequence_length_tokens=ROW_TOKENS,
            mixture=SFT_MIXTURE,
        ),
    )


def _loop(loop: LoopConfig, num_steps: int, peak_rate: float, batch_size_rows: int = BATCH_SIZE_ROWS) -> LoopConfig:
    schedule = replace(loop.optimizer.schedule, peak_rate=peak_rate, warmup_steps=num_steps // 20)
    return replace(
        loop,
        num_steps=num_steps,
        batch_size_rows=batch_size_rows,
        optimizer=replace(loop.optimizer, schedule=schedule, rule=AdaStarConfig()),
        save_every_steps=500,
    )


def _text(stage: TextStageConfig, num_steps: int, peak_rate: float) -> TextStageConfig:
    return replace(stage, loop=_loop(stage.loop, num_steps, peak_rate), sequence_length_tokens=ROW_TOKENS)


def _round(one: RoundConfig, peak_rate: float) -> RoundConfig:
    taught = replace(
        one.rejection_sampling,
        loop=_loop(one.rejection_sampling.loop, 600, peak_rate),
        sequence_length_tokens=ROW_TOKENS,
        mixture=RS_MIXTURE,
    )
    return replace(one, rejection_sampling=taught)


def _longer(stage: LongContextConfig) -> LongContextConfig:
    loop = _loop(stage.text.loop, 400, 3e-4, LONG_BATCH_SIZE_ROWS)
    retrieval = replace(stage.retrieval, lengths_tokens=(256, 512, 1024, 2048, 3072, 4096), words=QUESTION_WORDS)
    return replace(
        stage, text=replace(stage.text, loop=loop, sequence_length_tokens=LONG_ROW_TOKENS), retrieval=retrieval
    )


def _questions(part: QuestionsConfig, num_documents: int, min_length: int, max_length: int) -> QuestionsConfig:
    return replace(
        part,
        num_documents=num_documents,
        min_length_tokens=min_length,
        max_length_tokens=max_length,
        share_by_category=CATEGORY_SHARES,
        words=QUESTION_WORDS,
    )
