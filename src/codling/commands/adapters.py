"""`codling recover` and `codling adapt`: what is trained on a compressed bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from codling.commands.options import AsJson, BundlePath
from codling.commands.terminal import show_json
from codling.disk import quiet_libraries, writing_to

if TYPE_CHECKING:
    from codling.train.loop import LoopConfig

Texts = Annotated[
    list[Path], Option("--text", metavar="FILE", help="UTF-8, or .jsonl with a `text` field; repeatable.")
]
Demonstrations = Annotated[
    list[Path],
    Option(
        "--demonstrations",
        metavar="FILE.jsonl",
        help='Conversations, one a line: {"messages": [...], "source": ..., "license": ...}; repeatable.',
    ),
]
OutDirectory = Annotated[Path, Option(metavar="DIR", help="Where the result goes; not there yet, or empty.")]
Steps = Annotated[int, Option(min=1, help="Updates.")]
Rate = Annotated[float, Option(min=0.0, help="Peak of the learning rate, which falls to a twentieth.")]
BatchRows = Annotated[int, Option("--batch-rows", min=1, help="Rows an update.")]
RowTokens = Annotated[int, Option("--row-tokens", min=2, help="Length of a row; the context at most.")]
Seed = Annotated[int, Option(min=0, help="Of the order of the rows.")]

WARMUP_SHARE, FINAL_FRACTION = 0.1, 0.05


def recover(
    bundle: BundlePath,
    teacher: Annotated[Path, Option(metavar="BUNDLE", help="The bundle that was compressed.")],
    out: OutDirectory,
    text: Texts = [],  # noqa: B006  typer copies it
    demonstrations: Demonstrations = [],  # noqa: B006
    rank: Annotated[int, Option(min=1, help="Rank of the adapter of every linear layer.")] = 16,
    tables: Annotated[bool, Option("--tables/--no-tables", help="Train the base's tables and row scales, too.")] = True,
    steps: Steps = 500,
    rate: Rate = 1e-3,
    batch_rows: BatchRows = 8,
    row_tokens: RowTokens = 512,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train the adapter that wins back what compression lost: the bundle learns to say what the teacher says.

    Text like what both were trained on. Interrupted, the same command goes on where it was.
    """
    from rich.console import Console

    from codling.artifact.bundle import load_tokenizer
    from codling.artifact.model_files import load_config
    from codling.artifact.outputs import check_out
    from codling.artifact.stage import load_artifact
    from codling.ondevice.recover import RecoverConfig
    from codling.ondevice.recover_bundle import check_recoverable, recover_bundle
    from codling.ondevice.user_rows import read_user_rows
    from codling.progress import build_reporter

    check_recoverable(bundle, teacher, rank)
    check_out(out)
    length = min(row_tokens, load_config(bundle).context_length_tokens)
    tokenizer = load_tokenizer(bundle, load_artifact(bundle, "bundle").manifest)
    rows = read_user_rows(text, demonstrations, tokenizer, length, seed)
    config = RecoverConfig(
        loop=_loop(steps, rate, batch_rows),
        sequence_length_tokens=length,
        mixture=rows.mixture,
        rank=rank,
        trains_tables=tables,
    )
    console = Console(highlight=False, quiet=as_json)
    with quiet_libraries(), writing_to(out), build_reporter(console) as reporter:
        reporter.stage_started("recover", 1, 1)
        made = recover_bundle(bundle, teacher, rows, out, config, seed, reporter)
    figures = made.manifest.metrics
    if as_json:
        show_json({"model": made.manifest.id, "path": str(out), **figures})
        return
    divergence = figures["divergence"]
    console.print(
        f"{made.manifest.id} written to {out}: {divergence['palettized']:.4f} -> {divergence['recovered']:.4f} nats a "
        f"token from the teacher on held-out text, {figures['share_won_back']:.0%} of the loss won back",
        markup=False,
        soft_wrap=True,
    )


def adapt(
    bundle: BundlePath,
    demonstrations: Demonstrations,
    out: OutDirectory,
    steps: Steps = 300,
    rate: Rate = 1e-3,
    batch_rows: BatchRows = 8,
    row_tokens: RowTokens = 512,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train an adapter for one feature, from the bundle's recovery adapter on; the base is shared by all features.

    Use it by `codling chat BUNDLE --adapter DIR`. Interrupted, the same command goes on where it was.
    """
    from rich.console import Console

    from codling.artifact.bundle import load_tokenizer
    from codling.artifact.model_files import load_config
    from codling.artifact.outputs import check_out
    from codling.artifact.stage import load_artifact
    from codling.ondevice.adapt import AdaptConfig
    from codling.ondevice.adapt_bundle import adapt_bundle, check_adaptable
    from codling.ondevice.user_rows import DEMONSTRATIONS, read_user_rows
    from codling.progress import build_reporter

    check_adaptable(bundle)
    check_out(out)
    length = min(row_tokens, load_config(bundle).context_length_tokens)
    tokenizer = load_tokenizer(bundle, load_artifact(bundle, "bundle").manifest)
    rows = read_user_rows([], demonstrations, tokenizer, length, seed)
    config = AdaptConfig(loop=_loop(steps, rate, batch_rows), sequence_length_tokens=length, mixture=rows.mixture)
    console = Console(highlight=False, quiet=as_json)
    with quiet_libraries(), writing_to(out), build_reporter(console) as reporter:
        reporter.stage_started("adapt", 1, 1)
        made = adapt_bundle(bundle, rows, out, config, seed, reporter)
    figures = made.manifest.metrics
    if as_json:
        show_json({"adapter": made.manifest.id, "path": str(out), **figures})
        return
    before, after = (figures[name][DEMONSTRATIONS] for name in ("nll_before", "nll_after"))
    console.print(
        f"{made.manifest.id} written to {out}: {before:.3f} -> {after:.3f} nats a token on held-out demonstrations",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"next:    codling chat {bundle} --adapter {out}", markup=False, soft_wrap=True)


def _loop(num_steps: int, peak_rate: float, batch_size_rows: int) -> "LoopConfig":
    from codling.train.adamw import AdamWConfig
    from codling.train.loop import LoopConfig
    from codling.train.optimizer import OptimizerConfig
    from codling.train.schedule import ScheduleConfig

    schedule = ScheduleConfig(
        peak_rate=peak_rate, warmup_steps=max(1, round(WARMUP_SHARE * num_steps)), final_fraction=FINAL_FRACTION
    )
    return LoopConfig(
        num_steps=num_steps,
        batch_size_rows=batch_size_rows,
        optimizer=OptimizerConfig(schedule=schedule, rule=AdamWConfig()),
        save_every_steps=50,
        log_every_steps=10,
    )
