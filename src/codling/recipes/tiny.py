"""The quickstart's stages at a size that takes seconds: what the tests and CI run from end to end."""

from dataclasses import replace
from typing import TypeVar

from codling.committee.draw_prompts import DrawPromptsConfig
from codling.committee.round import AlignmentConfig, RoundConfig
from codling.data.mixture import MixtureWeights
from codling.model.config import ModelConfig
from codling.ondevice.recover import RecoverConfig
from codling.posttrain.rejection_sampling import RejectionSamplingConfig
from codling.posttrain.rollout import RolloutConfig
from codling.posttrain.sft import SftConfig
from codling.posttrain.tune_preferences import IpoConfig
from codling.pretrain.long_context import LongContextConfig
from codling.pretrain.text_stage import TextStageConfig
from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import Recipe
from codling.tokenizer.train import TokenizerConfig
from codling.train.loop import LoopConfig

NUM_STEPS, NUM_SFT_STEPS = 6, 60

S = TypeVar("S", TextStageConfig, SftConfig, RecoverConfig, RejectionSamplingConfig)


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

    def of_pairs(loop: LoopConfig) -> LoopConfig:
        return replace(short(loop), batch_size_rows=8)

    def text(stage: S) -> S:
        return replace(stage, loop=short(stage.loop), heldout_rows_per_kind=8)

    def longer(stage: LongContextConfig) -> LongContextConfig:
        counts = dict.fromkeys(stage.retrieval.num_documents_by_category, 2)
        retrieval = replace(
            stage.retrieval, lengths_tokens=(256, 512), depths=(0.0, 1.0), num_documents_by_category=counts
        )
        return replace(stage, text=text(stage.text), retrieval=retrieval)

    def tuned(stage: SftConfig) -> SftConfig:
        """Long enough that some answers end, and meet one constraint more than others: or no pair had a better one."""
        mixture = MixtureWeights(
            share_by_kind={"tool_calls": 0.1, "intents": 0.1, "story_answers": 0.1, "formats": 0.7}
        )
        loop = replace(stage.loop, num_steps=NUM_SFT_STEPS, batch_size_rows=2, save_every_steps=20, log_every_steps=10)
        return replace(stage, loop=loop, mixture=mixture, heldout_rows_per_kind=8)

    def short_round(one: RoundConfig) -> RoundConfig:
        asked = RolloutConfig(num_answers=4, max_answer_tokens=32, batch_size_prompts=8)
        dpo, mdloo = one.dpo, one.mdloo
        assert dpo is not None
        assert mdloo is not None
        online = replace(
            mdloo.training,
            num_iterations=2,
            num_prompts=4,
            rollout=asked,
            batch_size_prompts=2,
            num_epochs=2,
            save_every_iterations=1,
        )
        return replace(
            one,
            pairs=replace(one.pairs, num_prompts=16, rollout=asked),
            rewards=replace(
                one.rewards,
                heldout_share=0.25,
                training=replace(one.rewards.training, loop=of_pairs(one.rewards.training.loop)),
            ),
            # All prompts: most answers of such a model are cut off, or no text.
            best_answers=replace(one.best_answers, num_prompts=40, rollout=asked, min_check_score=0.0),
            rejection_sampling=text(one.rejection_sampling),
            dpo=replace(dpo, loop=of_pairs(dpo.loop)),
            ipo=replace(dpo, loop=of_pairs(dpo.loop), loss=IpoConfig()),
            mdloo=replace(mdloo, training=online),
            max_answer_tokens=32,
        )

    conversations = replace(
        recipe.conversations,
        num_train_by_skill=dict.fromkeys([*recipe.conversations.num_train_by_skill, "formats"], 100),
        num_heldout=10,
    )
    one = recipe.alignment.server_rounds[0]
    return replace(
        recipe,
        name="tiny",
        tokenizer=TokenizerConfig(vocab_size=shape.vocab_size),
        conversations=conversations,
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
        server_sft=tuned(recipe.server_sft),
        device_sft=tuned(recipe.device_sft),
        alignment=AlignmentConfig(
            prompts=DrawPromptsConfig(num_train_by_skill={"formats": 40}, num_validation=10),
            server_rounds=(short_round(one), short_round(one)),
            device_rounds=(short_round(one),),
        ),
        device_compress=replace(recipe.device_compress, num_batches=2),
        device_recover=replace(text(recipe.device_recover), rank=4, calibration_batches=2),
        device_features={
            name: replace(feature, loop=short(feature.loop), heldout_rows=8)
            for name, feature in recipe.device_features.items()
        },
    )
