"""A small model that was trained (the quickstart's): where calls cost more than weights, and what rounding costs.

Speed is that of writing on after a few tokens, next to llama.cpp and transformers. Divergence is that of rounded
activations from float ones, on text that the model itself wrote at temperature 1: no other has to be brought along.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from codling.artifact.bundle import NO_ADAPTER, export_hf, load_bundle
from codling.artifact.gguf_file import export_gguf
from codling.artifact.outputs import new_file
from codling.bench.engine_duel import peer_name
from codling.bench.engine_files import DENSE_TYPE
from codling.bench.engine_llama import LlamaSide, quantize_file
from codling.bench.engine_log import Key, in_turn, seconds
from codling.bench.engine_ours import OurSide, random_ids
from codling.bench.engine_run import LLAMA, TRANSFORMERS, EngineRun
from codling.engine.engine import Engine
from codling.engine.sampling import Sampling
from codling.errors import UserError

SPEED: Final = "small-generation"
DIVERGENCE: Final = "divergence"
SMALL: Final = (SPEED, DIVERGENCE)
SMALL_TYPES: Final = ("F16", "Q8_0", "Q4_0")
"""Of llama.cpp's weights; the others' blocks do not divide the rows of small models."""
TRANSFORMERS_PACKAGES: Final = ("torch", "transformers")
BEGIN_TOKENS: Final = 16
CONTEXT_SHARE: Final = 2
"""This part of the context is written."""
NUM_ANSWERS: Final = 5
"""In one round: one takes milliseconds."""
NUM_TEXTS: Final = 4

Generate = Callable[[int], object]
"""Writes so many tokens after the same beginning."""
Open = Callable[[int], AbstractContextManager[Generate]]
"""(number of threads) -> a peer that is ready."""


def check_transformers() -> None:
    """Errors: `UserError` where transformers or torch are missing."""
    missing = [name for name in TRANSFORMERS_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the peer {TRANSFORMERS} needs {' and '.join(missing)}: pip install 'codling[compare]'")


def measure_small(run: EngineRun, groups: Sequence[str]) -> None:
    """Measure these groups of `run.small`, if there is one."""
    if run.small is None:
        return
    if DIVERGENCE in groups:
        run.log.measure(Key(DIVERGENCE, 1), "nats/token", partial(_divergences, run.small))
    if SPEED not in groups:
        return
    for name, open_peer in _peers(run, run.small).items():
        for num_threads in run.config.threads:
            measure = partial(_duel, run, run.small, num_threads, open_peer)
            run.log.measure(Key(SPEED, num_threads, peer=name), "tokens/s", measure)


def _divergences(small: Path) -> list[tuple[float, ...]]:
    return [(rounding_divergence(small),)]


def rounding_divergence(bundle: Path) -> float:
    """KL(float activations || rounded ones) of the next token, in nats, on average over texts of the model's own."""
    exact, rounded = (Engine.open(bundle, num_threads=1, rounds_activations=rounds) for rounds in (False, True))
    divergences = []
    for seed in range(NUM_TEXTS):
        writer = exact.session(sampling=Sampling(temperature=1.0, seed=seed))
        begin = list(exact.tokenizer.begin_ids) or random_ids(1, exact.tokenizer.vocab_size, seed)
        num_tokens = writer.context_length_tokens // CONTEXT_SHARE
        ids = [*begin, *writer.run(begin, num_tokens, ())]
        rows = (engine.session().logits(ids[:-1], len(ids) - len(begin)) for engine in (exact, rounded))
        divergences += [_divergence(one, other) for one, other in zip(*rows, strict=True)]
    return float(np.mean(divergences))


def _divergence(exact: Float[np.ndarray, " V"], changed: Float[np.ndarray, " V"]) -> float:
    log_p, log_q = (_log_softmax(logits) for logits in (exact, changed))
    return float((np.exp(log_p) * (log_p - log_q)).sum())


def _log_softmax(logits: Float[np.ndarray, " V"]) -> Float[np.ndarray, " V"]:
    wide = logits.astype(np.float64) - logits.max()
    shifted: np.ndarray = wide - np.log(np.exp(wide).sum())
    return shifted


def _duel(run: EngineRun, small: Path, num_threads: int, open_peer: Open | None) -> list[tuple[float, ...]]:
    ours = OurSide(small, num_threads)
    num_tokens = ours.engine.session().context_length_tokens // CONTEXT_SHARE
    with open_peer(num_threads) if open_peer else _nobody() as theirs:
        sides: list[Generate] = [partial(ours.generate, BEGIN_TOKENS), *([theirs] if theirs else [])]
        for side in sides:
            side(num_tokens)
        return in_turn(run.config.num_rounds, *(partial(_speed, side, num_tokens) for side in sides))


def _speed(generate: Generate, num_tokens: int) -> float:
    return NUM_ANSWERS * num_tokens / seconds(lambda: [generate(num_tokens) for _ in range(NUM_ANSWERS)])


def _peers(run: EngineRun, small: Path) -> dict[str, Open | None]:
    """By the names that rows give them. Their files are made once."""
    peers: dict[str, Open | None] = {}
    if LLAMA in run.peers:
        for type_name in SMALL_TYPES:
            peers[peer_name(type_name)] = partial(_open_llama, _llama_file(run, small, type_name))
    if TRANSFORMERS in run.peers:
        dense = run.directory / f"{_name(small)}-hf"
        if not dense.exists():
            export_hf(load_bundle(small, NO_ADAPTER), dense)
        peers[TRANSFORMERS] = partial(_open_transformers, dense)
    return peers or {"": None}


def _llama_file(run: EngineRun, small: Path, type_name: str) -> Path:
    path = run.directory / f"{_name(small)}-{type_name}.gguf"
    if not path.exists() and type_name == DENSE_TYPE:
        export_gguf(load_bundle(small, NO_ADAPTER), path, DENSE_TYPE.lower())
    elif not path.exists():
        dense = _llama_file(run, small, DENSE_TYPE)
        with new_file(path) as made:
            quantize_file(dense, made, type_name, max(run.config.threads))
    return path


def _name(small: Path) -> str:
    """Of files that are made of this bundle."""
    return Engine.open(small).manifest.id


@contextmanager
def _nobody() -> Iterator[None]:
    yield


@contextmanager
def _open_llama(path: Path, num_threads: int) -> Iterator[Generate]:
    with LlamaSide(path, num_threads=num_threads, context_length_tokens=0) as side:
        side.prompt(random_ids(BEGIN_TOKENS, side.vocab_size, seed=0))
        yield partial(side.generate, BEGIN_TOKENS)


@contextmanager
def _open_transformers(directory: Path, num_threads: int) -> Iterator[Generate]:
    """As its users have it on a processor: float32, greedy, no compilation."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(num_threads)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    ids = torch.tensor([random_ids(BEGIN_TOKENS, model.config.vocab_size, seed=0)])

    def generate(num_tokens: int) -> object:
        length = {"min_new_tokens": num_tokens, "max_new_tokens": num_tokens}
        return model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, **length)

    yield generate
