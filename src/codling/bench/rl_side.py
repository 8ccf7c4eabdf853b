"""One side of the bench of online training, in a process of its own: `python -m codling.bench.rl_side ours MODEL`.

Says `ready` when everything is compiled and warm. Then, for every line on stdin that holds a number of iterations, does
that many and answers with one JSON line. Between two lines it sleeps, so that the other side has the cores to itself.
Both sides do the same work in float32 from the same weights: sample NUM_ANSWERS answers to each of NUM_PROMPTS prompts
at temperature 1, reward them, score them under policy and frozen reference, and pass over them NUM_EPOCHS times in
updates of BATCH_SIZE_PROMPTS * NUM_ANSWERS answers: leave-one-out advantages with the price of the divergence in the
rewards, clipped ratios of whole answers, clipping of the gradient, AdamW. That is TRL's RLOO; ours is `PpoConfig`.
"""

import json
import os
import sys
import time
from collections.abc import Generator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from codling.model.config import ModelConfig, named_size
from codling.tokenizer.special_tokens import BOS, END, EOS, FIRST_LEARNED_ID, PAD, UNK
from codling.train.host import keep_freed_memory

MODEL = named_size("quickstart_server")
NUM_PROMPTS, NUM_ANSWERS, BATCH_SIZE_PROMPTS, NUM_EPOCHS = 32, 8, 8, 2
MIN_PROMPT_TOKENS, MAX_PROMPT_TOKENS, MAX_ANSWER_TOKENS = 8, 160, 64
"""As in the quickstart's tool calls, whose prompts have 9 to 161 tokens, mostly few, and whose answers some 24."""
STREAM_BIAS, END_BIAS = 10.0, 1.35
"""Make answers of random weights end by themselves: at each token with a chance of about one in 24."""
BETA, CLIP_RANGE, LEARNING_RATE, WEIGHT_DECAY, MAX_GRADIENT_NORM = 0.05, 0.2, 1e-8, 0.1, 1.0
"""Updates so small that answers stay as long as they are, in whichever round they are measured."""
MOMENTUM_DECAY, SECOND_MOMENT_DECAY = 0.9, 0.95
WARMUP_ITERATIONS, MAX_ITERATIONS = 2, 1000
NUM_UPDATES = NUM_EPOCHS * NUM_PROMPTS // BATCH_SIZE_PROMPTS
"""Of an iteration."""


class Side(StrEnum):
    """Who trains."""

    OURS = "ours"
    TRL = "trl"


class Iteration(NamedTuple):
    """What one iteration worked on, and where its time went; it is the same work on both sides."""

    answer_tokens: int
    sampling_s: float
    scoring_s: float
    """Both log-probabilities, rewards, advantages."""
    updating_s: float

    @property
    def whole_s(self) -> float:
        """From the first token to the last update."""
        return self.sampling_s + self.scoring_s + self.updating_s


Served = Generator[None, Iteration, None]


def serve() -> Served:
    """Yield where an iteration is to be done, and be sent what it took; ends with stdin."""
    for _ in range(WARMUP_ITERATIONS):
        yield
    print("ready", flush=True)
    for line in sys.stdin:
        done = []
        for _ in range(int(line)):
            done.append((yield))
        print(json.dumps(tokens_per_s(done)), flush=True)


def tokens_per_s(iterations: Sequence[Iteration]) -> dict[str, float]:
    """Tokens of answers by second, of the whole iterations and of each part."""
    num_tokens = sum(one.answer_tokens for one in iterations)
    durations_s = {
        "iteration": sum(one.whole_s for one in iterations),
        "sampling": sum(one.sampling_s for one in iterations),
        "scoring": sum(one.scoring_s for one in iterations),
        "updates": sum(one.updating_s for one in iterations),
    }
    return {part: num_tokens / duration_s for part, duration_s in durations_s.items()}


def draw_prompts(config: ModelConfig = MODEL) -> list[list[int]]:
    """Prompts of different lengths, of tokens that mean nothing in particular."""
    random = np.random.default_rng(0)
    lengths = np.geomspace(MIN_PROMPT_TOKENS, MAX_PROMPT_TOKENS, NUM_PROMPTS).round().astype(int)
    return [random.integers(FIRST_LEARNED_ID, config.vocab_size, size=length).tolist() for length in lengths]


def reward(answer: Sequence[int], config: ModelConfig = MODEL) -> float:
    """The share of tokens in the lower half of the vocabulary: nothing to compute, and answers differ in it."""
    return float(np.mean(np.asarray(answer) < config.vocab_size // 2))


def write_model(directory: Path, config: ModelConfig = MODEL) -> None:
    """Random weights, as a checkpoint that transformers reads as `Qwen3ForCausalLM`."""
    import equinox as eqx
    import jax
    from jaxtyping import Array

    from codling.artifact.model_files import save_model
    from codling.model.init import init_transformer
    from codling.model.transformer import Transformer

    def with_bias(model: Transformer) -> tuple[Array, Array, Array]:
        # The first number of the residual stream is the same for every token, and no layer writes to it: what END's
        # embedding has there is a bias of its logit.
        blocks = model.blocks
        return (
            model.embedding.at[:, 0].set(STREAM_BIAS).at[END.id, 0].add(END_BIAS),
            blocks.attention.output.weight.at[:, 0].set(0.0),
            blocks.feed_forward.down.weight.at[:, 0].set(0.0),
        )

    model = eqx.filter_jit(init_transformer)(config, jax.random.key(0))
    written = eqx.tree_at(
        lambda model: (
            model.embedding,
            model.blocks.attention.output.weight,
            model.blocks.feed_forward.down.weight,
        ),
        model,
        with_bias(model),
    )
    save_model(directory, written, tokenizer_sha256="")


def run_ours(model_path: Path, served: Served) -> None:
    """`posttrain.online`, on all devices."""
    import jax
    from jaxtyping import PRNGKeyArray

    from codling.artifact.model_files import load_model
    from codling.artifact.workspace import SilentReporter, Workspace
    from codling.posttrain.objective import PpoConfig
    from codling.posttrain.online import OnlineConfig, train_online
    from codling.posttrain.rollout import RolloutConfig
    from codling.posttrain.task import Task, TaskScores
    from codling.train.adamw import AdamWConfig
    from codling.train.optimizer import OptimizerConfig
    from codling.train.schedule import ScheduleConfig

    class AllPrompts(Task):
        def __init__(self, prompts: Sequence[Sequence[int]]) -> None:
            self.prompts = prompts

        def choose(self, count: int, key: PRNGKeyArray) -> list[int]:
            return list(range(count))

        def score(self, places: Sequence[int], answers: Sequence[Sequence[int]]) -> TaskScores:
            return TaskScores(np.asarray([reward(answer, model.config) for answer in answers]), {})

    rule = AdamWConfig(
        momentum_decay=MOMENTUM_DECAY, second_moment_decay=SECOND_MOMENT_DECAY, max_gradient_norm=MAX_GRADIENT_NORM
    )
    config = OnlineConfig(
        num_iterations=MAX_ITERATIONS,
        num_prompts=NUM_PROMPTS,
        rollout=RolloutConfig(
            num_answers=NUM_ANSWERS, max_answer_tokens=MAX_ANSWER_TOKENS, batch_size_prompts=NUM_PROMPTS // 2
        ),
        optimizer=OptimizerConfig(
            schedule=ScheduleConfig(peak_rate=LEARNING_RATE), rule=rule, weight_decay=WEIGHT_DECAY
        ),
        objective=PpoConfig(clip_range=CLIP_RANGE),
        beta=BETA,
        num_epochs=NUM_EPOCHS,
        batch_size_prompts=BATCH_SIZE_PROMPTS,
        save_every_iterations=MAX_ITERATIONS,
    )
    model = load_model(model_path)
    workspace = Workspace("bench", model_path, SilentReporter())
    next(served)
    for record in train_online(config, model, AllPrompts(draw_prompts(model.config)), workspace, jax.random.key(0)):
        num_tokens = round(record.figures["answer_tokens"] * NUM_PROMPTS * NUM_ANSWERS)
        try:
            served.send(Iteration(num_tokens, *record.durations))
        except StopIteration:
            return


def run_trl(model_path: Path, served: Served) -> None:
    """RLOO of TRL on PyTorch, as its users would have it on a CPU: no checkpointing of activations, fused AdamW."""
    import torch
    from datasets import Dataset  # type: ignore[import-not-found]
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import RLOOConfig, RLOOTrainer

    torch.set_num_threads(num_cores())
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    model.generation_config.eos_token_id = [END.id, EOS.id]
    # A tokenizer of one word a token, as TRL takes prompts as text.
    special = {token.id: token.text for token in (UNK, BOS, EOS, PAD)}
    vocabulary = {special.get(number, f"word{number}"): number for number in range(model.config.vocab_size)}
    words = Tokenizer(WordLevel(vocabulary, unk_token=UNK.text))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=BOS.text, eos_token=EOS.text, pad_token=PAD.text, padding_side="left"
    )
    prompts = [" ".join(f"word{number}" for number in prompt) for prompt in draw_prompts()]
    assert tokenizer(prompts)["input_ids"] == draw_prompts()

    class Timed(RLOOTrainer):  # type: ignore[misc]
        """Notes where the time goes, and is otherwise as it comes."""

        started_s, sampling_s, scoring_s, answer_tokens = 0.0, 0.0, 0.0, 0

        def _generate_single_turn(self, *arguments: Any) -> Any:
            start_s = time.perf_counter()
            answers = super()._generate_single_turn(*arguments)
            self.sampling_s = time.perf_counter() - start_s
            self.answer_tokens = sum(map(len, answers))
            return answers

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            start_s = time.perf_counter()
            scored = super()._generate_and_score_completions(inputs)
            self.scoring_s = time.perf_counter() - start_s - self.sampling_s
            return scored

    class Clock(TrainerCallback):  # type: ignore[misc]
        """An iteration begins with its sampling, inside of its first update."""

        def on_step_begin(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % NUM_UPDATES == 0:
                trainer.started_s = time.perf_counter()

        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % NUM_UPDATES == 0:
                updating_s = time.perf_counter() - trainer.started_s - trainer.sampling_s - trainer.scoring_s
                try:
                    served.send(Iteration(trainer.answer_tokens, trainer.sampling_s, trainer.scoring_s, updating_s))
                except StopIteration:
                    control.should_training_stop = True

    config = RLOOConfig(
        output_dir=str(model_path / "trl"),
        num_generations=NUM_ANSWERS,
        max_completion_length=MAX_ANSWER_TOKENS,
        per_device_train_batch_size=BATCH_SIZE_PROMPTS * NUM_ANSWERS,
        steps_per_generation=NUM_PROMPTS // BATCH_SIZE_PROMPTS,
        num_iterations=NUM_EPOCHS,
        max_steps=MAX_ITERATIONS * NUM_UPDATES,
        beta=BETA,
        epsilon=CLIP_RANGE,
        temperature=1.0,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        weight_decay=WEIGHT_DECAY,
        adam_beta1=MOMENTUM_DECAY,
        adam_beta2=SECOND_MOMENT_DECAY,
        max_grad_norm=MAX_GRADIENT_NORM,
        optim="adamw_torch_fused",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = Timed(
        model=model,
        reward_funcs=lambda completion_ids, **_: [reward(answer) for answer in completion_ids],
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
        callbacks=[Clock()],
    )
    next(served)
    trainer.train()


def num_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(side: Side, model_path: Path) -> None:
    """Serve one side until stdin ends."""
    if side is Side.TRL:
        return run_trl(model_path, serve())
    # As `codling.cli` does before JAX starts.
    keep_freed_memory()
    os.environ["JAX_NUM_CPU_DEVICES"] = str(num_cores())
    return run_ours(model_path, serve())


if __name__ == "__main__":
    main(Side(sys.argv[1]), Path(sys.argv[2]))
