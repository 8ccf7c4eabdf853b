"""The engine against llama.cpp on the same shape, in turn, in one process: generation, prompts, the first token.

One type of llama.cpp's weights at a time, as all together would not fit into memory beside caches of 32k tokens; our
side is measured anew next to each. A long cache is filled, on both sides, by copies of a shorter one: what generation
costs does not depend on what the cache says.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Final, NamedTuple, final

from codling.bench.engine_llama import LlamaSide
from codling.bench.engine_log import Key, in_turn, seconds
from codling.bench.engine_ours import OurSide, random_ids
from codling.bench.engine_run import LONGEST_RUN_TOKENS, EngineRun, repeats_of

GENERATION: Final = "generation"
PROMPT: Final = "prompt"
FIRST_TOKEN: Final = "first-token"
DUELS: Final = (PROMPT, FIRST_TOKEN, GENERATION)
LONG_CONTEXT_TOKENS: Final = 8192
"""From here on the peer gets a context of its own, as its cache takes gigabytes."""
LONG_CONTEXT_PART: Final = 4
"""And so much less is generated in one round, as a token takes as much longer."""
WARM_UP_TOKENS: Final = 4


def peer_name(type_name: str) -> str:
    """What rows call a type of llama.cpp's weights."""
    return f"llama.cpp {type_name}"


def measure_duels(run: EngineRun, groups: Sequence[str], files: dict[str, Path]) -> None:
    """Measure these groups with every number of threads, next to every file of llama.cpp's, or alone without any."""
    peers = [_Peer(peer_name(type_name), path) for type_name, path in files.items()] or [_Peer("", None)]
    for num_threads in run.config.threads:
        ours = _Ours(run.bundle, num_threads)
        for peer in peers:
            duel = _Duel(run, ours, peer)
            tasks = duel.tasks(groups)
            duel.measure([task for task in tasks if task.size_tokens < LONG_CONTEXT_TOKENS])
            duel.measure([task for task in tasks if task.size_tokens >= LONG_CONTEXT_TOKENS])


class _Peer(NamedTuple):
    name: str
    file: Path | None


@final
class _Ours:
    """Our side, opened when it is needed."""

    def __init__(self, bundle: Path, num_threads: int) -> None:
        self._bundle, self.num_threads = bundle, num_threads

    @cached_property
    def side(self) -> OurSide:
        side = OurSide(self._bundle, self.num_threads)
        side.generate(0, WARM_UP_TOKENS)
        return side


@final
class _Duel:
    """One number of threads, one peer or none."""

    def __init__(self, run: EngineRun, ours: _Ours, peer: _Peer) -> None:
        self._run, self._config, self._ours, self._peer = run, run.config, ours, peer

    def tasks(self, groups: Sequence[str]) -> list[Key]:
        """What is to be measured: contexts come last and fall, so that each is the beginning of the one before."""
        sizes = {
            PROMPT: self._config.prompts_tokens,
            FIRST_TOKEN: (self._config.first_token_prompt_tokens,),
            GENERATION: sorted(self._config.contexts_tokens, reverse=True),
        }
        names = [name for name in DUELS if name in groups]
        return [Key(name, self._ours.num_threads, size, self._peer.name) for name in names for size in sizes[name]]

    def measure(self, tasks: Sequence[Key]) -> None:
        """Measure what is not there yet."""
        if not self._run.log.lacks(*tasks):
            return
        with self._open_peer(max(task.size_tokens for task in tasks)) as theirs:
            for task in tasks:
                measure = self._generation if task.group == GENERATION else self._prompt
                unit = "ms" if task.group == FIRST_TOKEN else "tokens/s"
                self._run.log.measure(task, unit, partial(measure, task, theirs))

    def _generation(self, task: Key, theirs: LlamaSide | None) -> list[tuple[float, ...]]:
        context_tokens = task.size_tokens
        is_long = context_tokens >= LONG_CONTEXT_TOKENS
        num_tokens = max(1, self._config.num_generated_tokens // (LONG_CONTEXT_PART if is_long else 1))
        self._ours.side.generate(context_tokens, 1)
        works: list[Callable[[], object]] = [lambda: self._ours.side.generate(context_tokens, num_tokens)]
        if theirs:
            self._fill(theirs, context_tokens)
            works.append(lambda: theirs.generate(context_tokens, num_tokens))
        return in_turn(self._config.num_rounds, *(_speed(work, num_tokens) for work in works))

    def _prompt(self, task: Key, theirs: LlamaSide | None) -> list[tuple[float, ...]]:
        works: list[Callable[[], object]] = [lambda: self._ours.side.prompt(task.size_tokens)]
        if theirs:
            works.append(lambda: theirs.prompt(self._ids(task.size_tokens)))
        is_time = task.group == FIRST_TOKEN
        values = [_milliseconds(work) if is_time else _speed(work, task.size_tokens) for work in works]
        return in_turn(self._config.num_rounds, *values)

    def _fill(self, theirs: LlamaSide, context_tokens: int) -> None:
        if theirs.num_tokens >= context_tokens:
            return
        times, part_tokens = repeats_of(context_tokens)
        theirs.prompt(self._ids(part_tokens))
        theirs.repeat(times)

    def _open_peer(self, longest_tokens: int) -> contextlib.AbstractContextManager[LlamaSide | None]:
        if self._peer.file is None:
            return contextlib.nullcontext()
        theirs = LlamaSide(
            self._peer.file,
            num_threads=self._ours.num_threads,
            context_length_tokens=longest_tokens + LONGEST_RUN_TOKENS,
            cache_type=self._config.llama_cache,
        )
        theirs.prompt(self._ids(WARM_UP_TOKENS))
        return theirs

    def _ids(self, num_tokens: int) -> list[int]:
        return random_ids(num_tokens, self._run.shape.vocab_size, seed=0)


def _speed(work: Callable[[], object], num_tokens: int) -> Callable[[], float]:
    return lambda: num_tokens / seconds(work)


def _milliseconds(work: Callable[[], object]) -> Callable[[], float]:
    return lambda: 1e3 * seconds(work)
