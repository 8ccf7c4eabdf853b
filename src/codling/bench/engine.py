"""The engine's speed and memory on a model of the on-device shape, next to llama.cpp in the same process.

Models are of random weights, made once in a directory: what is measured is work, not quality. Every row of raw values
is written down as it comes, so that a run goes on where it was stopped; figures are their medians.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from codling.artifact.hf import WEIGHTS_FILE
from codling.bench.engine_alone import ALONE, measure_alone
from codling.bench.engine_duel import DUELS, measure_duels
from codling.bench.engine_figures import engine_figures
from codling.bench.engine_files import forget_pages, llama_files
from codling.bench.engine_fresh import FRESH, measure_fresh
from codling.bench.engine_llama import check_types
from codling.bench.engine_log import Row, RowLog, build_id
from codling.bench.engine_models import RandomBundleConfig, random_bundle
from codling.bench.engine_run import LLAMA, PEERS, TRANSFORMERS, EngineBenchConfig, EngineRun, bench_shape
from codling.bench.engine_small import SMALL, check_transformers, measure_small
from codling.bench.figure import Figure
from codling.engine import _native
from codling.errors import UserError

GROUPS: Final = (*ALONE, *DUELS, *FRESH, *SMALL)
"""In this order."""


def run_engine_bench(
    directory: Path,
    *,
    small: Path | None,
    peers: Sequence[str],
    only: Sequence[str],
    config: EngineBenchConfig,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[list[Figure], list[Row]]:
    """Measure these groups, all if none are named; `say` hears how it goes.

    Errors: `UserError` for unknown groups and peers, and for peers that are not installed, before anything is made;
    as for `Engine.open` where the small bundle is none.
    """
    groups = [group for group in GROUPS if not only or group in only]
    _check(peers, only, config)
    shape = bench_shape(config)
    directory.mkdir(parents=True, exist_ok=True)
    drawn = RandomBundleConfig(shape=shape, num_adapters=config.num_sessions)
    bundle = random_bundle(directory, drawn, say)
    log = RowLog(directory, build_id(Path(_native.__file__)), say)
    run = EngineRun(directory, bundle, shape, small, tuple(peers), config, log, say)
    files = {}
    if LLAMA in peers and any(group in DUELS for group in groups):
        files = llama_files(directory, bundle.name, shape, config.types, max(config.threads), say)
    for path in (bundle / WEIGHTS_FILE, *files.values()):
        forget_pages(path)
    measure_alone(run, groups)
    measure_duels(run, groups, files)
    measure_fresh(run, groups)
    measure_small(run, groups)
    rows = [row for row in log.rows if row.key.group in groups and row.key.num_threads in (*config.threads, 1)]
    return engine_figures(run, rows), rows


def _check(peers: Sequence[str], only: Sequence[str], config: EngineBenchConfig) -> None:
    for given, known, what in ((peers, PEERS, "peer"), (only, GROUPS, "group")):
        for name in given:
            if name not in known:
                raise UserError(f"no {what} '{name}' to measure (known: {', '.join(known)})")
    if LLAMA in peers:
        check_types(config.types)
    if TRANSFORMERS in peers:
        check_transformers()
