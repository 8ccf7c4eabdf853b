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

import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, PRNGKeyArray

from codling.artifact.processes import any_process
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.errors import Terminated, UserError
from codling.model.execution import ComputeConfig, ComputeType
from codling.model.transformer import Transformer
from codling.posttrain.advantage import group_normalized, leave_one_out, penalized_rewards
from codling.posttrain.group_rows import Groups, place_groups, row_length
from codling.posttrain.objective import GrpoConfig, MdlooConfig, Objective, OnlineBatch, loss_of
from codling.posttrain.rollout import RolloutConfig, Rollouts, check_room, roll_out
from codling.posttrain.row_scores import score_groups
from codling.posttrain.task import Task, TaskScores
from codling.train.checkpoint import Checkpoints, Keep
from codling.train.metrics import MetricsWriter
from codling.train.optimizer import OptimizerConfig, build_optimizer, rates_of_stage
from codling.train.sharding import MeshConfig, build_mesh, data_mesh, place
from codling.train.signals import noting_sigterm
from codling.train.state import init_state
from codling.train.step import build_step

MAX_DISAGREEMENT = {ComputeType.FLOAT32: 1e-4, ComputeType.BFLOAT16: 0.1}
"""Nats a token, between sampler and trainer."""


@config
class OnlineConfig:
    """Iterations of sampling and updating."""

    num_iterations: int
    num_prompts: int
    """Prompts of an iteration; each is answered rollout.num_answers times."""
    rollout: RolloutConfig
    optimizer: OptimizerConfig
    """Its schedule goes over all updates of all iterations."""
    objective: Objective = MdlooConfig()
    beta: float = 0.02
    """Price of a nat away from the reference, in rewards. Unknown in the report; ours."""
    num_epochs: int = 2
    """Passes over an iteration's answers."""
    batch_size_prompts: int = 16
    """Prompts of one update, with all answers to them, over all devices; it divides those of an iteration."""
    compute: ComputeConfig = ComputeConfig()
    mesh: MeshConfig | None = None
    """As `train.loop`."""
    save_every_iterations: int = 5

    def __post_init__(self) -> None:
        if self.rollout.num_answers < 2:
            raise ValueError("rollout.num_answers must be >= 2: answers to one prompt are compared with each other")
        if min(self.num_iterations, self.num_prompts, self.num_epochs, self.save_every_iterations) < 1:
            raise ValueError("num_iterations, num_prompts, num_epochs and save_every_iterations must be >= 1")
        if self.batch_size_prompts < 1 or self.num_prompts % self.batch_size_prompts:
            raise ValueError(
                f"batch_size_prompts {self.batch_size_prompts} does not divide the {self.num_prompts} prompts of an "
                "iteration"
            )

    @property
    def num_updates(self) -> int:
        """Of one iteration."""
        return self.num_epochs * self.num_prompts // self.batch_size_prompts


class Durations(NamedTuple):
    """Where the time of an iteration went, in seconds."""

    sampling_s: float = 0.0
    """Answers drawn and rewarded."""
    scoring_s: float = 0.0
    """Log-probabilities under policy and reference, and what follows from them."""
    updating_s: float = 0.0


class IterationRecord(NamedTuple):
    """What a caller sees of one iteration."""

    iteration: int
    params: Transformer
    figures: dict[str, float]
    durations: Durations = Durations()


def train_online(
    config: OnlineConfig, policy: Transformer, task: Task, workspace: Workspace, key: PRNGKeyArray
) -> Iterator[IterationRecord]:
    """Train `policy` on the task's prompts, yielding after each iteration; it is its own reference.

    Errors: `UserError` where the loss is not finite, where sampler and trainer disagree, or where a prompt leaves no
    room for an answer; the newest checkpoint is kept. `Terminated` after SIGTERM.
    """
    check_room(config.rollout, task.prompts, policy.config.context_length_tokens)
    mesh = build_mesh(config.mesh) if config.mesh is not None else data_mesh(config.batch_size_prompts)
    reference = place(policy, mesh)
    rates = rates_of_stage(config.optimizer, config.num_iterations * config.num_updates)
    update = build_step(loss_of(config.objective), config.optimizer.rule, mesh, config.compute)
    row_length_tokens = row_length(task.prompts, config.rollout.max_answer_tokens)
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
                times_s = [time.perf_counter()]
                sampled = _sample(config, task, state.params, jax.random.fold_in(key, iteration), mesh)
                iteration_rates = rates[iteration * config.num_updates : (iteration + 1) * config.num_updates]
                iteration += 1
                times_s.append(time.perf_counter())
                answers = _prepare(config, sampled, state.params, reference, row_length_tokens, mesh, workspace.name)
                times_s.append(time.perf_counter())
                figures = dict(answers.figures)
                order = np.random.default_rng([iteration, len(task.prompts)])
                for batch, rate in zip(_batches(config, answers, order, mesh), iteration_rates, strict=True):
                    state, metrics = update(state, None, place_groups(batch, mesh), rate, key)
                    if not metrics.is_finite:
                        raise UserError(
                            f"{workspace.name}: loss or gradient is not finite in iteration {iteration} (loss "
                            f"{float(metrics.loss)}); lower optimizer.schedule.peak_rate, the newest checkpoint is kept"
                        )
                figures |= {name: float(value) for name, value in metrics.metrics.items()}
                figures["gradient_norm"] = float(metrics.gradient_norm)
                times_s.append(time.perf_counter())
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
                yield IterationRecord(iteration, state.params, figures, Durations(*np.diff(times_s).tolist()))


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
    groups: Groups
    by_answer: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Log-probabilities under the policy that sampled and under the reference, and advantages."""
    figures: dict[str, float]


def _prepare(
    config: OnlineConfig,
    sampled: _Sampled,
    policy: Transformer,
    reference: Transformer,
    row_length_tokens: int,
    mesh: Mesh,
    name: str,
) -> _Answers:
    """Advantages and both log-probabilities of every answer, and what the iteration has to say of itself."""
    num_answers, rollouts = config.rollout.num_answers, sampled.rollouts
    ids = [rollouts.ids(row) for row in range(len(rollouts.answers))]
    max_answer_tokens = config.rollout.max_answer_tokens
    groups = Groups(sampled.prompts, ids, max_answer_tokens=max_answer_tokens, row_length_tokens=row_length_tokens)
    own, base = (
        score_groups(model, groups, mesh=mesh, compute=config.compute, batch_size_prompts=config.batch_size_prompts)
        for model in (policy, reference)
    )
    seen = own.log_probs[:, :max_answer_tokens]
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
    penalized = penalized_rewards(
        rewards, grouped(own.log_probs), grouped(base.log_probs), grouped(groups.mask), beta=config.beta
    )
    advantage = group_normalized if isinstance(config.objective, GrpoConfig) else leave_one_out
    advantages = np.asarray(advantage(penalized)).reshape(-1)
    num_tokens = rollouts.lengths_tokens
    divergence = np.sum((own.log_probs - base.log_probs) * groups.mask, axis=1)
    figures = {
        "reward": float(np.mean(sampled.scores.rewards)),
        **{f"reward_{part}": float(np.mean(values)) for part, values in sampled.scores.parts.items()},
        "kl_to_reference_sampled": float(np.mean(divergence)),
        "advantage_std": float(np.std(advantages)),
        "groups_without_advantage": float(np.mean(np.ptp(np.asarray(rewards), axis=1) == 0)),
        "answer_tokens": float(np.mean(num_tokens)),
        "cut_off": float(np.mean(rollouts.is_cut_off)),
        "entropy": float(np.sum(own.entropies * groups.mask) / np.sum(groups.mask)),
        "disagreement": disagreement,
    }
    return _Answers(groups, (own.log_probs, base.log_probs, advantages), figures)


def _batches(config: OnlineConfig, answers: _Answers, order: np.random.Generator, mesh: Mesh) -> Iterator[OnlineBatch]:
    """All prompts with their answers, num_epochs times, each time in another order."""
    groups = answers.groups
    for _ in range(config.num_epochs):
        for dealt in groups.deal(config.num_updates // config.num_epochs, order):
            chosen = groups.spread(dealt, mesh)
            of_answers = (values[groups.numbers(chosen)] for values in answers.by_answer)
            yield OnlineBatch(groups.rows(chosen, mesh), *of_answers)
