"""Our losses of preference and policy are TRL's. Needs torch and trl (extra `compare`): `pytest -m live`.

TRL keeps its losses inside trainers. Their own methods are called here, on a stand-in for the trainer that holds the
settings, and on a stand-in for the model that gives out log-probabilities we drew.
"""

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.posttrain.advantage import group_normalized, leave_one_out, penalized_rewards
from codling.posttrain.answer_log_probs import sum_answers
from codling.posttrain.dpo import dpo_loss
from codling.posttrain.ipo import ipo_loss
from codling.posttrain.pair_log_probs import PairLogProbs
from codling.posttrain.policy_loss import SampledAnswers, clipped_loss, grpo_loss, reinforce_loss
from codling.posttrain.rank_loss import hard_rank_loss, margin_rank_loss

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]

TOLERANCE = 1e-5
NUM_PAIRS, PLACES, BETA, CLIP_RANGE = 5, 7, 0.3, 0.2
CHOSEN, REJECTED = slice(0, NUM_PAIRS), slice(NUM_PAIRS, None)
GROUPS = NUM_PROMPTS, NUM_ANSWERS = 3, 4
NUM_ROWS = NUM_PROMPTS * NUM_ANSWERS
RANDOM = np.random.default_rng(0)


def stand_in(**settings: Any) -> SimpleNamespace:
    """A trainer's bookkeeping, and the settings that its loss reads."""
    from accelerate import Accelerator

    return SimpleNamespace(
        accelerator=Accelerator(cpu=True),
        model=SimpleNamespace(training=True, is_gradient_checkpointing=False),
        aux_loss_enabled=False,
        beta=BETA,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **settings,
    )


def draw(num_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw log-probabilities under two policies, near each other, and a mask of answers that begin and end anywhere."""
    log_probs = -RANDOM.uniform(0.1, 2, size=(num_rows, PLACES))
    other = log_probs + RANDOM.normal(size=log_probs.shape) * 0.1
    first = RANDOM.integers(0, 3, size=(num_rows, 1))
    end = first + RANDOM.integers(1, PLACES - 2, size=(num_rows, 1))
    mask = (np.arange(PLACES) >= first) & (np.arange(PLACES) < end)
    return log_probs.astype(np.float32), other.astype(np.float32), mask


def compare(
    theirs: Callable[[Any], Any], ours: Callable[[jax.Array], jax.Array], values: np.ndarray, mask: np.ndarray | None
) -> None:
    """Loss and gradient, by the values that the model gives out."""
    import torch

    leaf = torch.tensor(values, requires_grad=True)
    loss = theirs(leaf)
    loss.backward()
    our_loss, our_gradient = jax.value_and_grad(ours)(jnp.asarray(values))
    assert abs(float(loss.detach())) > 10 * TOLERANCE
    np.testing.assert_allclose(float(our_loss), float(loss.detach()), atol=TOLERANCE, rtol=TOLERANCE)
    gradient = leaf.grad.numpy() if mask is None else leaf.grad.numpy() * mask
    assert np.abs(gradient).max() > 10 * TOLERANCE
    np.testing.assert_allclose(our_gradient, gradient, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo"])
def test_dpo_and_ipo(loss_type: str) -> None:
    import torch
    from trl import DPOTrainer

    log_probs, reference, mask = draw(2 * NUM_PAIRS)
    reference_sums = torch.tensor((reference * mask).sum(axis=1)).chunk(2)
    trainer = stand_in(
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[loss_type],
        loss_weights=[1.0],
        label_smoothing=0.0,
        use_weighting=False,
    )

    def theirs(leaf: Any) -> Any:
        def model(**_: Any) -> SimpleNamespace:
            # A model's fused head gives zero where the labels are off.
            return SimpleNamespace(
                log_probs=leaf * torch.tensor(mask),
                entropy=torch.zeros(mask.shape),
                mean_logits=torch.zeros(mask.shape),
                is_top1=torch.zeros(mask.shape, dtype=torch.bool),
            )

        # Their masks begin one token earlier: the first token is predicted by nothing.
        completion_mask = torch.tensor(np.pad(mask, ((0, 0), (1, 0)))).long()
        inputs = {
            "input_ids": torch.zeros_like(completion_mask),
            "attention_mask": torch.ones_like(completion_mask),
            "completion_mask": completion_mask,
            "ref_chosen_logps": reference_sums[0],
            "ref_rejected_logps": reference_sums[1],
        }
        return DPOTrainer._compute_loss(trainer, model, inputs, False)

    def ours(log_probs: jax.Array) -> jax.Array:
        answers = sum_answers(log_probs, jnp.asarray(mask))
        frozen = sum_answers(jnp.asarray(reference), jnp.asarray(mask))
        halves = [type(sums)(*(x[part] for x in sums)) for sums in (answers, frozen) for part in (CHOSEN, REJECTED)]
        pairs = PairLogProbs(*halves)
        sums = dpo_loss(pairs, beta=BETA) if loss_type == "sigmoid" else ipo_loss(pairs, tau=BETA)
        return sums.value / sums.weight

    compare(theirs, ours, log_probs, mask)


@pytest.mark.parametrize("with_margin", [False, True])
def test_the_pairwise_reward_loss(with_margin: bool) -> None:
    import torch
    from trl import RewardTrainer

    rewards = RANDOM.normal(size=2 * NUM_PAIRS).astype(np.float32)
    margins = RANDOM.uniform(0, 1, size=NUM_PAIRS).astype(np.float32)
    trainer = stand_in(args=SimpleNamespace(center_rewards_coefficient=None))

    def theirs(leaf: Any) -> Any:
        inputs = {"attention_mask": torch.ones(2 * NUM_PAIRS, 1)}
        if with_margin:
            inputs["margin"] = torch.tensor(margins)
        return RewardTrainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=leaf[:, None]), inputs)

    def ours(rewards: jax.Array) -> jax.Array:
        chosen, rejected = rewards[CHOSEN], rewards[REJECTED]
        if with_margin:
            return jnp.mean(margin_rank_loss(chosen, rejected, jnp.asarray(margins)))
        return jnp.mean(hard_rank_loss(chosen, rejected))

    compare(theirs, ours, rewards, None)


def right_padded(mask: np.ndarray) -> np.ndarray:
    """Sampled answers begin at the first place; they are as long as the mask has places."""
    return np.asarray(np.arange(PLACES) < mask.sum(axis=1, keepdims=True))


def rollout(trainer: SimpleNamespace, rewards: np.ndarray, mask: np.ndarray) -> None:
    """Let a stand-in sample answers of these lengths, with these rewards."""
    import torch

    answers = [[1] * int(row.sum()) for row in mask]
    trainer._generate = lambda prompts: ([[1]] * NUM_ROWS, answers, [""] * NUM_ROWS)
    trainer._calculate_rewards = lambda *_: torch.tensor(rewards)[:, None]
    trainer._tokenizer = SimpleNamespace(pad_token_id=0)


def test_rloo_from_rewards_to_gradient() -> None:
    import torch
    from trl import RLOOTrainer

    sampled, reference, mask = draw(NUM_ROWS)
    policy = (sampled + RANDOM.normal(size=sampled.shape) * 0.1).astype(np.float32)
    mask = right_padded(mask)
    longest = int(mask.sum(axis=1).max())
    sampled, reference, policy, mask = (x[:, :longest] for x in (sampled, reference, policy, mask))
    rewards = RANDOM.normal(size=NUM_ROWS).astype(np.float32)
    trainer = stand_in(
        ref_model="reference",
        args=SimpleNamespace(gradient_checkpointing_kwargs=None, per_device_train_batch_size=NUM_ROWS),
        mask_truncated_completions=False,
        pad_to_multiple_of=None,
        num_generations=NUM_ANSWERS,
        reward_weights=torch.ones(1),
        reward_func_names=["ours"],
        reward_clip_range=None,
        normalize_advantages=False,
        epsilon_low=CLIP_RANGE,
        epsilon_high=CLIP_RANGE,
        log_multimodal=False,
        _logs=defaultdict(list) | {"rewards": defaultdict(list), "extra": defaultdict(list)},
        _pending_extra_logs={},
        _pending_metrics={},
    )
    rollout(trainer, rewards, mask)
    known = {"reference": torch.tensor(reference)}
    trainer._get_per_token_logps_and_entropies = lambda model, *_, **__: (
        known[model] if isinstance(model, str) else torch.tensor(sampled),
        None,
        None,
    )
    batch = RLOOTrainer._generate_and_score_completions(trainer, [{"prompt": "x"}] * NUM_ROWS)

    on = jnp.asarray(mask)
    grouped = [jnp.asarray(x).reshape(*GROUPS, longest) for x in (sampled, reference, mask)]
    whole = penalized_rewards(jnp.asarray(rewards).reshape(GROUPS), *grouped, beta=BETA)
    advantages = leave_one_out(whole).reshape(-1)
    np.testing.assert_allclose(advantages, batch["advantages"], atol=TOLERANCE)

    def theirs(leaf: Any) -> Any:
        figures = (leaf, torch.zeros(mask.shape), None)
        trainer._get_per_token_logps_and_entropies = lambda *_, **__: figures
        return RLOOTrainer._compute_loss(trainer, None, batch)

    def answers(log_probs: jax.Array) -> SampledAnswers:
        constants = jnp.asarray(sampled), jnp.asarray(reference), on, advantages, jnp.ones(NUM_ROWS)
        return SampledAnswers(log_probs, *constants)

    def ours(log_probs: jax.Array) -> jax.Array:
        sums = clipped_loss(answers(log_probs), clip_range=CLIP_RANGE)
        return sums.value / sums.weight

    compare(theirs, ours, policy, mask)

    # Where the policy is still the sampler, their gradient is that of REINFORCE.
    leaf = torch.tensor(sampled, requires_grad=True)
    theirs(leaf).backward()
    gradient = jax.grad(lambda log_probs: reinforce_loss(answers(log_probs)).value / NUM_ROWS)(jnp.asarray(sampled))
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), atol=TOLERANCE)


def test_grpo() -> None:
    import torch
    from trl import GRPOTrainer

    sampled, reference, mask = draw(NUM_ROWS)
    policy = (sampled + RANDOM.normal(size=sampled.shape) * 0.2).astype(np.float32)
    rewards = jnp.asarray(RANDOM.normal(size=GROUPS), jnp.float32)
    advantages = group_normalized(rewards).reshape(-1)
    trainer = stand_in(
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
        loss_type="grpo",
        epsilon_low=CLIP_RANGE,
        epsilon_high=CLIP_RANGE,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        current_gradient_accumulation_steps=1,
    )
    ids = torch.zeros(mask.shape, dtype=torch.long)
    batch = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": torch.ones_like(ids[:, :1]),
        "completion_ids": ids,
        "completion_mask": torch.tensor(mask).long(),
        "advantages": torch.tensor(np.asarray(advantages)),
        "old_per_token_logps": torch.tensor(sampled),
        "ref_per_token_logps": torch.tensor(reference),
    }

    def theirs(leaf: Any) -> Any:
        figures = (leaf, torch.zeros(mask.shape), None)
        trainer._get_per_token_logps_and_entropies = lambda *_, **__: figures
        return GRPOTrainer._compute_loss(trainer, None, batch)

    def ours(log_probs: jax.Array) -> jax.Array:
        constants = jnp.asarray(sampled), jnp.asarray(reference), jnp.asarray(mask), advantages, jnp.ones(NUM_ROWS)
        sums = grpo_loss(SampledAnswers(log_probs, *constants), clip_range=CLIP_RANGE, beta=BETA)
        return sums.value / sums.weight

    compare(theirs, ours, policy, mask)
