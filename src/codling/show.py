"""What the command line shows: tables for people, and the same as values for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from codling.artifact.describe import Description, FileState, ModelFacts
from codling.bench.compress import CompressFigure
from codling.bench.figure import Figure
from codling.config import to_dict

STATE_STYLES = {FileState.WHOLE: "green", FileState.CHANGED: "bold red", FileState.MISSING: "bold red"}
BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def show_compress_figures(figures: Sequence[CompressFigure], console: Console) -> None:
    """Ways to compress one model, as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for column in ("bits", "all", "adapter", "perplexity", "nats/token", "99th pct", "same choice"):
        table.add_column(column, justify="right", no_wrap=True)
    for figure in figures:
        found = figure.divergence
        table.add_row(
            figure.name,
            f"{figure.bits_per_weight_projections:.2f}",
            f"{figure.bits_per_weight_total:.2f}",
            f"{figure.bits_per_weight_adapter:.2f}" if figure.bits_per_weight_adapter else "",
            f"{found.perplexity:.2f}",
            f"{found.mean_nats:.5f}",
            f"{found.tail_nats:.4f}",
            f"{found.top_1_agreement:.2%}",
        )
    console.print(table)


def show_artifact(description: Description, console: Console) -> None:
    """An artifact as tables."""
    manifest = description.manifest
    console.print(Text(f"{manifest.kind}  {manifest.id}", style="bold"))
    about = {
        "path": str(description.path),
        "stage": f"{manifest.stage} (version {manifest.stage_version}, seed {manifest.seed})",
        "made": f"{manifest.started}, in {manifest.wall_time_s:.1f} s",
        "on": f"{manifest.hardware.get('processor')}, {manifest.hardware.get('cores')} cores",
        "by": f"codling {manifest.libraries.get('codling')} at {_short(manifest.commit)}",
    }
    if description.adapters:
        about["adapters"] = ", ".join(description.adapters)
    sections: dict[str, RenderableType] = {"": _pairs(about)}
    if description.model is not None:
        sections["model"] = _pairs(_model_rows(description.model))
    for title, values in (("inputs", manifest.inputs), ("config", manifest.config), ("metrics", manifest.metrics)):
        if values:
            sections[title] = _pairs(_flatten(values))
    sections["files"] = _file_table(description)
    for title, body in sections.items():
        console.print(
            Group(Text(f"\n{title}", style="bold cyan"), Padding(body, (0, 2), expand=False)) if title else body
        )


def artifact_json(description: Description) -> dict[str, Any]:
    """The same for programs."""
    model = description.model
    return {
        "path": str(description.path),
        "is_whole": description.is_whole,
        "manifest": to_dict(description.manifest),
        "files": [{**file._asdict(), "state": file.state.value} for file in description.files],
        "adapters": list(description.adapters),
        "model": None
        if model is None
        else {**model._asdict(), "config": asdict(model.config), "bits_per_weight": model.bits_per_weight},
    }


def show_figures(figures: Sequence[Figure], console: Console) -> None:
    """What a bench measured, with the peer's value of the same run."""
    table = Table("figure", "ours", "peer", "ratio", "goal", "met", box=None, pad_edge=False, header_style="dim")
    for figure in figures:
        goal = "" if figure.goal is None else f"{figure.goal:g}"
        met = {True: "yes", False: "no", None: ""}[figure.met]
        ours, peer = f"{_number(figure.value)} {figure.unit}", _number(figure.peer_value)
        table.add_row(Text(figure.name), ours, peer, f"{figure.ratio:.2f}", goal, met)
    console.print(table)


def _model_rows(model: ModelFacts) -> dict[str, str]:
    config = model.config
    return {
        "parameters": f"{model.num_parameters:,} ({model.num_parameters_embedding:,} of them embedding)",
        "weights": f"{'palettized' if model.is_palettized else 'dense'}, {_size(model.size_bytes)}, "
        f"{model.bits_per_weight:.2f} bits each with everything",
        "shape": f"{config.num_layers} layers of {config.model_dim}, feed-forward {config.ffn_dim}",
        "heads": f"{config.num_query_heads} query, {config.num_kv_heads} key/value, of {config.head_dim}",
        "vocabulary": f"{config.vocab_size:,} tokens",
        "context": f"{config.context_length_tokens:,} tokens, RoPE base {config.rope_theta:,.0f}",
    }


def _file_table(description: Description) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    for file in description.files:
        state = Text(file.state.value, style=STATE_STYLES.get(file.state, "yellow"))
        table.add_row(Text(file.name), _size(file.size_bytes), state)
    return table


def _pairs(values: Mapping[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(Text(name), Text(value))
    return table


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as `a.b` -> text."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = f"{value:.6g}" if isinstance(value, float) else str(value)
    return flat


def _number(value: float) -> str:
    """One place behind the point, or three digits of a small number."""
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _short(commit: str) -> str:
    """`3f9c2ab71d04` or `3f9c2ab71d04+changes`."""
    sha, plus, changes = commit.partition("+")
    return sha[:12] + plus + changes


def _size(size_bytes: int) -> str:
    """In the largest unit of which there is a whole one."""
    exponent = min(max(0, (size_bytes.bit_length() - 1) // 10), len(BINARY_UNITS) - 1)
    number = f"{size_bytes / 1024**exponent:.1f}" if exponent else str(size_bytes)
    return f"{number} {BINARY_UNITS[exponent]}"
