"""The quickstart's stages at a size that takes seconds: what the tests and CI run from end to end."""

from dataclasses import replace
from typing import TypeVar

from codling.model.config import ModelConfig
from codling.ondevice.recover import RecoverConfig
from codling.posttrain.sft import SftConfig
from codling.pretrain.long_context import LongContextConfig
from codling.pretrain.text_stage import TextStageConfig
from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import Recipe
from codling.tokenizer.train import TokenizerConfig
from codling.train.loop import LoopConfig

NUM_STEPS = 6

S = TypeVar("S", TextStageConfig, SftConfig, RecoverConfig)


def tiny() -> Recipe:
    """Every stage, a few steps each; what comes out cannot do anything."""
    recipe = quickstart()
    shape = ModelConfig(
        vocab_size=1024,
        model_dim=32,
        ffn_dim=64,
        num_layers=2,
        num_query_heads=2,
        num_kv_heads=1,
        head_dim=16,
        context_length_tokens=256,
    )

    def short(loop: LoopConfig) -> LoopConfig:
        return replace(loop, num_steps=NUM_STEPS, batch_size_rows=2, save_every_steps=2, log_every_steps=1)

    def text(stage: S) -> S:
        return replace(stage, loop=short(stage.loop), heldout_rows_per_kind=8)

    def longer(stage: LongContextConfig) -> LongContextConfig:
        counts = dict.fromkeys(stage.retrieval.num_documents_by_category, 2)
        retrieval = replace(
            stage.retrieval, lengths_tokens=(256, 512), depths=(0.0, 1.0), num_documents_by_category=counts
        )
        return replace(stage, text=text(stage.text), retrieval=retrieval)

    return replace(
        recipe,
        name="tiny",
        tokenizer=TokenizerConfig(vocab_size=shape.vocab_size),
        conversations=replace(
            recipe.conversations,
            num_train_by_skill=dict.fromkeys(recipe.conversations.num_train_by_skill, 100),
            num_heldout=10,
        ),
        questions={kind: replace(part, num_documents=40) for kind, part in recipe.questions.items()},
        server_model=shape,
        device_parent_model=replace(shape, ffn_dim=48),
        device_prune=replace(recipe.device_prune, ffn_dim=24, text=text(recipe.device_prune.text)),
        server_core=text(recipe.server_core),
        device_parent_core=text(recipe.device_parent_core),
        device_distill=replace(recipe.device_distill, text=text(recipe.device_distill.text)),
        server_continued=text(recipe.server_continued),
        device_continued=text(recipe.device_continued),
        server_long_context=longer(recipe.server_long_context),
        device_long_context=longer(recipe.device_long_context),
        server_sft=text(recipe.server_sft),
        device_sft=text(recipe.device_sft),
        device_recover=replace(text(recipe.device_recover), rank=4),
    )
