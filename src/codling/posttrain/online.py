"""Online training: the policy answers, the answers are scored, and the policy is moved towards those that did better.

Where this sits in the recipe: arXiv 2407.21075 section 4.2.3 (MDLOO). Iteration k:

    y ~ pi_k            several answers to each prompt (`posttrain.rollout`)
    R = r - beta log(pi_k / pi_ref)       over the whole answer, which is one action
    A = R - mean of the other answers' R  (`posttrain.advantage`)
    a few updates of pi on the objective (`posttrain.policy_loss`), passing over all answers num_epochs times

A loop of its own and not a mode of `train.loop`, as its data come from the model itself; the update is that of
`train.step`, on the same mesh. Killed, it goes on from the last iteration that was saved, with the same draws.

Sampler and trainer are one function, but for the cache: before each iteration's updates their log-probabilities of
every token are compared, and where they differ by more than rounding the run stops. The ratio pi / pi_k is that of the
trainer on both sides, so that it is exactly 1 before the first update.
"""

from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from codling.artifact.processes import any_process
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.loader import Batch
from codling.errors import Terminated, UserError
from codling.model.execution import ComputeConfig, ComputeType, Execution
from codling.model.transformer import Transformer
from codling.posttrain.advantage import group_normalized, leave_one_out, penalized_rewards
from codling.posttrain.answer_log_probs import answer_log_probs
from codling.posttrain.answer_rows import AnswerRows, answer_rows, by_answer
from codling.posttrain.policy_loss import (
    SampledAnswers,
    clipped_loss,
    grpo_loss,
    mdloo_loss,
    reinforce_loss,
)
from codling.posttrain.rollout import LENGTH_STEP_TOKENS, RolloutConfig, Rollouts, check_room, roll_out
from codling.posttrain.task import Task, TaskScores
from codling.train.checkpoint import Checkpoints, Keep
from codling.train.loss import LossSums
from codling.train.metrics import MetricsWriter
from codling.train.objective import last_hidden
from codling.train.optimizer import OptimizerConfig, build_optimizer, rates_of_stage
from codling.train.sharding import MeshConfig, build_mesh, data_mesh, gather, place, place_rows
from codling.train.signals import noting_sigterm
from codling.train.state import init_state
from codling.train.step import LossFunction, build_step

MAX_DISAGREEMENT = {ComputeType.FLOAT32: 1e-4, ComputeType.BFLOAT16: 0.1}
"""Nats a token, between sampler and trainer."""


class Objective(StrEnum):
    """What an update maximizes; `posttrain.policy_loss` has the formulas."""

    MDLOO = "mdloo"
    REINFORCE = "reinforce"
    PPO = "ppo"
    GRPO = "grpo"


@config
class OnlineConfig:
    """Iterations of sampling and updating."""

    num_iterations: int
    num_prompts: int
    """Prompts of an iteration; each is answered rollout.num_answers times."""
    rollout: RolloutConfig
    optimizer: OptimizerConfig
    """Its schedule goes over all updates of all iterations."""
    objective: Objective = Objective.MDLOO
    beta: float = 0.02
    """Price of a nat away from the reference, in rewards (of GRPO: in its loss). Unknown in the report; ours, see LOG."""
    gamma: float = 0.2
    """MDLOO's price of a nat away from the policy that sampled. Unknown in the report; ours, see LOG."""
    clip_range: float = 0.2
    """PPO's and GRPO's, around 1."""
    num_epochs: int = 2
    """Passes over an iteration's answers."""
    batch_size_answers: int = 64
    """Answers of one update, over all devices; it divides those of an iteration."""
    compute: ComputeConfig = ComputeConfig()
    mesh: MeshConfig | None = None
    """As `train.loop`."""
    save_every_iterations: int = 5

    def __post_init__(self) -> None:
        num_answers = self.num_prompts * self.rollout.num_answers
        if self.rollout.num_answers < 2:
            raise ValueError("rollout.num_answers must be >= 2: answers to one prompt are compared with each other")
        if min(self.num_iterations, self.num_prompts, self.num_epochs, self.save_every_iterations) < 1:
            raise ValueError("num_iterations, num_prompts, num_epochs and save_every_iterations must be >= 1")
        if self.batch_size_answers < 1 or num_answers % self.batch_size_answers:
            raise ValueError(
                f"batch_size_answers {self.batch_size_answers} does not divide the {num_answers} answers of an iteration"
            )

    @property
    def num_updates(self) -> int:
        """Of one iteration."""
        return self.num_epochs * self.num_prompts * self.rollout.num_answers // self.batch_size_answers


class IterationRecord(NamedTuple):
    """What a caller sees of one iteration."""

    iteration: int
    params: Transformer
    figures: dict[str, float]


class _OnlineBatch(NamedTuple):
    batch: Batch
    mask: Bool[np.ndarray, "B T"]
    sampler_log_probs: Float[np.ndarray, "B T"]
    reference_log_probs: Float[np.ndarray, "B T"]
    advantages: Float[np.ndarray, " B"]


class _Scored(NamedTuple):
    """Rows of an iteration under the model that was asked, [B, T]."""

    log_probs: np.ndarray
    entropies: np.ndarray


def train_online(
    config: OnlineConfig, policy: Transformer, task: Task, workspace: Workspace, key: PRNGKeyArray
) -> Iterator[IterationRecord]:
    """Train `policy` on the task's prompts, yielding after each iteration; it is its own reference.

    Errors: `UserError` where the loss is not finite, where sampler and trainer disagree, or where a prompt leaves no room
    for an answer; the newest checkpoint is kept. `Terminated` after SIGTERM.
    """
    check_room(config.rollout, task.prompts, policy.config.context_length_tokens)
    mesh = build_mesh(config.mesh) if config.mesh is not None else data_mesh(config.batch_size_answers)
    reference = place(policy, mesh)
    rates = rates_of_stage(config.optimizer, config.num_iterations * config.num_updates)
    update = build_step(_loss_of(config), config.optimizer.rule, mesh, config.compute)
    longest = max(map(len, task.prompts)) + config.rollout.max_answer_tokens
    row_length = -(-longest // LENGTH_STEP_TOKENS) * LENGTH_STEP_TOKENS
    keep = Keep(config.save_every_iterations)
    state = place(init_state(jax.tree.map(jnp.copy, policy), build_optimizer(config.optimizer.rule)), mesh)
    with (
        noting_sigterm() as termination,
        Checkpoints(workspace.checkpoints_path, keep, owner=workspace.path.name, warn=workspace.warn) as checkpoints,
    ):
        restored = checkpoints.restore(state)
        iteration = 0 if restored is None else restored.step
        state = state if restored is None else restored.state
        with (
            MetricsWriter(workspace.path, iteration) as writer,
            workspace.progress(config.num_iterations, iteration) as progress,
        ):
            if iteration == config.num_iterations:
                yield IterationRecord(iteration, state.params, {})
            while iteration < config.num_iterations:
                sampled = _sample(config, task, state.params, jax.random.fold_in(key, iteration), mesh)
                iteration_rates = rates[iteration * config.num_updates : (iteration + 1) * config.num_updates]
                iteration += 1
                answers = _prepare(config, sampled, state.params, reference, row_length, mesh, workspace.name)
                figures = dict(answers.figures)
                order = np.random.default_rng([iteration, len(task.prompts)])
                for batch, rate in zip(_batches(config, answers.batch, order), iteration_rates, strict=True):
                    placed = place_rows(batch, mesh, config.batch_size_answers)
                    state, metrics = update(state, None, placed, rate, key)
                    if not metrics.is_finite:
                        raise UserError(
                            f"{workspace.name}: loss or gradient is not finite in iteration {iteration} (loss "
                            f"{float(metrics.loss)}); lower optimizer.schedule.peak_rate, the newest checkpoint is kept"
                        )
                figures |= {name: float(value) for name, value in metrics.metrics.items()}
                figures["gradient_norm"] = float(metrics.gradient_norm)
                writer.write(iteration, **figures)
                progress.update(iteration, reward=figures["reward"], kl=figures["kl_to_reference"])
                is_terminated = any_process(termination.is_requested)
                if iteration % config.save_every_iterations == 0 or iteration == config.num_iterations or is_terminated:
                    checkpoints.save(iteration, state, {})
                if is_terminated:
                    checkpoints.wait()
                    raise Terminated(
                        f"{workspace.name}: stopped by SIGTERM after iteration {iteration}; run again to go on"
                    )
                yield IterationRecord(iteration, state.params, figures)


class _Sampled(NamedTuple):
    prompts: list[list[int]]
    rollouts: Rollouts
    scores: TaskScores


def _sample(config: OnlineConfig, task: Task, policy: Transformer, key: PRNGKeyArray, mesh: Mesh) -> _Sampled:
    chosen = task.choose(config.num_prompts, jax.random.fold_in(key, 0))
    prompts = [list(task.prompts[index]) for index in chosen]
    rollouts = roll_out(config.rollout, policy, prompts, jax.random.fold_in(key, 1), mesh)
    answers = [rollouts.ids(row) for row in range(len(rollouts.answers))]
    return _Sampled(prompts, rollouts, task.score(np.repeat(chosen, config.rollout.num_answers).tolist(), answers))


class _Answers(NamedTuple):
    batch: _OnlineBatch
    figures: dict[str, float]


def _prepare(
    config: OnlineConfig,
    sampled: _Sampled,
    policy: Transformer,
    reference: Transformer,
    row_length: int,
    mesh: Mesh,
    name: str,
) -> _Answers:
    """Advantages and both log-probabilities of every answer, and what the iteration has to say of itself."""
    num_answers, rollouts = config.rollout.num_answers, sampled.rollouts
    prompts = [prompt for prompt in sampled.prompts for _ in range(num_answers)]
    rows = answer_rows(prompts, [rollouts.ids(row) for row in range(len(prompts))], row_length)
    score = partial(score_rows, rows=rows, mesh=mesh, compute=config.compute, batch_size_rows=config.batch_size_answers)
    own, base = score(policy), score(reference)
    seen = by_answer(own.log_probs, rows.mask, config.rollout.max_answer_tokens)
    disagreement = float(np.max(np.abs(seen - rollouts.log_probs)))
    limit = MAX_DISAGREEMENT[config.compute.dtype]
    if not disagreement <= limit:
        raise UserError(
            f"{name}: sampler and trainer disagree by {disagreement:.2g} nats in one token (limit {limit:g}); whatever "
            "is learned from these answers is learned for another policy; nothing was updated"
        )

    def grouped(values: np.ndarray) -> Array:
        return jnp.asarray(values).reshape(-1, num_answers, *values.shape[1:])

    rewards = grouped(sampled.scores.rewards.astype(np.float32))
    # GRPO holds the policy to its reference in its loss.
    beta = 0.0 if config.objective is Objective.GRPO else config.beta
    penalized = penalized_rewards(
        rewards, grouped(own.log_probs), grouped(base.log_probs), grouped(rows.mask), beta=beta
    )
    advantage = group_normalized if config.objective is Objective.GRPO else leave_one_out
    advantages = np.asarray(advantage(penalized)).reshape(-1)
    batch = _OnlineBatch(rows.batch, rows.mask, own.log_probs, base.log_probs, advantages)
    num_tokens = rollouts.lengths_tokens
    divergence = np.sum((own.log_probs - base.log_probs) * rows.mask, axis=1)
    figures = {
        "reward": float(np.mean(sampled.scores.rewards)),
        **{f"reward_{part}": float(np.mean(values)) for part, values in sampled.scores.parts.items()},
        "kl_to_reference_sampled": float(np.mean(divergence)),
        "advantage_std": float(np.std(advantages)),
        "groups_without_advantage": float(np.mean(np.ptp(np.asarray(rewards), axis=1) == 0)),
        "answer_tokens": float(np.mean(num_tokens)),
        "cut_off": float(np.mean(rollouts.is_cut_off)),
        "entropy": float(np.sum(own.entropies * rows.mask) / np.sum(rows.mask)),
        "disagreement": disagreement,
    }
    return _Answers(batch, figures)


def score_rows(
    model: Transformer, *, rows: AnswerRows, mesh: Mesh, compute: ComputeConfig, batch_size_rows: int
) -> _Scored:
    """Log-probabilities and entropies of the answers' tokens under a model; zero off the mask."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(rows.tokens), batch_size_rows):
        part = AnswerRows(*(_fill_up(values[start : start + batch_size_rows], batch_size_rows) for values in rows))
        placed = place_rows((part.batch, part.mask), mesh, batch_size_rows)
        scored = gather(_score(model, *placed, compute=compute))
        found.append(tuple(np.asarray(values) for values in scored))  # type: ignore[arg-type]
    log_probs, entropies = (np.concatenate(values)[: len(rows.tokens)] for values in zip(*found, strict=True))
    return _Scored(log_probs, entropies)


@partial(jax.jit, static_argnames="compute")
def _score(model: Transformer, batch: Batch, mask: Array, *, compute: ComputeConfig) -> tuple[Array, Array]:
    hidden = last_hidden(model, batch, Execution(compute))
    scored = answer_log_probs(hidden, model.embedding, jnp.asarray(batch.targets), mask, with_entropies=True)
    assert scored.entropies is not None
    return scored.log_probs, scored.entropies


def _fill_up(values: np.ndarray, num_rows: int) -> np.ndarray:
    return np.concatenate([values, np.zeros((num_rows - len(values), *values.shape[1:]), values.dtype)])


def _batches(config: OnlineConfig, answers: _OnlineBatch, order: np.random.Generator) -> Iterator[_OnlineBatch]:
    """All answers, num_epochs times, each time in another order."""
    for _ in range(config.num_epochs):
        for chosen in np.split(order.permutation(len(answers.advantages)), config.num_updates // config.num_epochs):
            yield jax.tree.map(lambda values, chosen=chosen: values[chosen], answers)


def _loss_of(config: OnlineConfig) -> LossFunction[Transformer]:
    losses: dict[Objective, Any] = {
        Objective.MDLOO: partial(mdloo_loss, gamma=config.gamma),
        Objective.REINFORCE: reinforce_loss,
        Objective.PPO: partial(clipped_loss, clip_range=config.clip_range),
        Objective.GRPO: partial(grpo_loss, clip_range=config.clip_range, beta=config.beta),
    }
    loss = losses[config.objective]

    def of_batch(
        policy: Transformer, frozen: None, online: _OnlineBatch, key: PRNGKeyArray, execution: Execution
    ) -> LossSums:
        batch, *constants = online
        mask, sampler_log_probs, reference_log_probs, advantages = map(jnp.asarray, constants)
        hidden = last_hidden(policy, batch, execution)
        log_probs = answer_log_probs(hidden, policy.embedding, jnp.asarray(batch.targets), mask).log_probs
        weights = jnp.ones_like(advantages)
        sums: LossSums = loss(
            SampledAnswers(log_probs, sampler_log_probs, reference_log_probs, mask, advantages, weights)
        )
        return sums

    return of_batch
