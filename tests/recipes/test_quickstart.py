"""The quickstart fits together: lengths, vocabularies and mixtures agree between its stages."""

from collections.abc import Callable

import pytest

from codling.data.sources import EMBEDDED_KINDS
from codling.recipes.mini import mini
from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import Recipe


def test_vocabularies_agree() -> None:
    recipe = quickstart()
    sizes = {recipe.tokenizer.vocab_size, recipe.server_model.vocab_size, recipe.device_parent_model.vocab_size}
    assert len(sizes) == 1


def test_the_context_is_lengthened_fourfold_and_fine_tuning_fits_it() -> None:
    recipe = quickstart()
    for model, longer in (
        (recipe.server_model, recipe.server_long_context),
        (recipe.device_parent_model, recipe.device_long_context),
    ):
        assert longer.text.sequence_length_tokens == 4 * model.context_length_tokens
        assert longer.rope_theta > model.rope_theta
    assert recipe.server_sft.sequence_length_tokens <= recipe.server_long_context.text.sequence_length_tokens


def test_the_continued_stage_shifts_the_mixture_and_lowers_the_rate() -> None:
    recipe = quickstart()
    assert recipe.server_continued.mixture != recipe.server_core.mixture
    continued, core = (
        stage.loop.optimizer.schedule.peak_rate for stage in (recipe.server_continued, recipe.server_core)
    )
    assert continued < core


def test_every_kind_and_skill_that_is_mixed_exists() -> None:
    recipe = quickstart()
    known = {*EMBEDDED_KINDS, *recipe.conversations.num_train_by_skill, *recipe.questions}
    for stage in (
        recipe.server_core,
        recipe.server_continued,
        recipe.server_sft,
        recipe.device_compress,
        recipe.device_recover,
    ):
        stage.mixture.check_kinds(known)


def test_a_round_asks_of_skills_that_fine_tuning_taught_and_fits_its_rows() -> None:
    recipe = quickstart()
    alignment = recipe.alignment
    assert set(alignment.prompts.num_train_by_skill) <= set(recipe.server_sft.mixture.share_by_kind)
    num_prompts = sum(alignment.prompts.num_train_by_skill.values())
    assert (len(alignment.server_rounds), len(alignment.device_rounds)) == (1, 1)
    for one in (*alignment.server_rounds, *alignment.device_rounds):
        assert max(one.pairs.num_prompts, one.best_answers.num_prompts) <= num_prompts
        assert one.rejection_sampling.sequence_length_tokens == recipe.server_sft.sequence_length_tokens
        assert one.max_answer_tokens <= recipe.server_sft.sequence_length_tokens


@pytest.mark.parametrize("make", [quickstart, mini])
def test_questions_fit_the_rows_that_they_are_mixed_into(make: Callable[[], Recipe]) -> None:
    """Only lengthening may show a model questions longer than the context it was born with."""
    recipe = make()
    longer = recipe.server_long_context
    for stage in (recipe.server_core, recipe.server_continued, recipe.device_continued, longer.text):
        for kind in set(stage.mixture.share_by_kind) & set(recipe.questions):
            assert recipe.questions[kind].max_length_tokens <= stage.sequence_length_tokens
    assert "short_questions" in recipe.server_continued.mixture.share_by_kind
    assert "long_questions" in longer.text.mixture.share_by_kind
    assert max(longer.retrieval.lengths_tokens) == longer.text.sequence_length_tokens
    assert {questions.words for questions in recipe.questions.values()} == {longer.retrieval.words}


def test_distillation_is_the_reports() -> None:
    assert quickstart().device_distill.teacher_weight == 0.9
    assert quickstart().device_recover.rank == 16
    assert quickstart().device_compress.compress.rows_per_table == 16
    assert quickstart().device_compress.compress.target_bits_per_weight == 3.7
    assert len(quickstart().device_features) == 3
