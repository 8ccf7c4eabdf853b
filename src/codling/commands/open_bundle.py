"""How `generate` and `chat` open a bundle: on the native engine, or on JAX."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Option

from codling.errors import UserError

if TYPE_CHECKING:
    from codling.chat.decoder import Opened


ENGINE_PANEL = "Only on the engine"


class Backend(StrEnum):
    """What runs a bundle."""

    ENGINE = "engine"
    JAX = "jax"


class KvType(StrEnum):
    """How the engine keeps keys and values."""

    INT8 = "int8"
    BF16 = "bf16"
    F32 = "f32"


BackendName = Annotated[
    Backend, Option("--backend", help="What runs the model: the native engine, or JAX as in training.")
]
Temperature = Annotated[float, Option(min=0.0, help="0 takes the most likely token, 1 draws as the model predicts.")]
TopP = Annotated[float, Option("--top-p", min=0.0, max=1.0, help="Draw from the likeliest tokens of this total mass.")]
Seed = Annotated[int, Option(min=0, help="The same seed draws the same tokens, on the same backend.")]
TopK = Annotated[
    int,
    Option(
        "--top-k", min=0, help="Draw from so many of the likeliest tokens; 0: from all.", rich_help_panel=ENGINE_PANEL
    ),
]
MinP = Annotated[
    float,
    Option(
        "--min-p",
        min=0.0,
        max=1.0,
        help="Draw from tokens at least so likely, as a share of the likeliest.",
        rich_help_panel=ENGINE_PANEL,
    ),
]
RepetitionPenalty = Annotated[
    float,
    Option(
        "--repetition-penalty",
        min=0.01,
        help="Above 1 makes tokens of prompt and answer less likely.",
        rich_help_panel=ENGINE_PANEL,
    ),
]
Threads = Annotated[
    int | None, Option("--threads", min=1, help="Default: one a processor.", rich_help_panel=ENGINE_PANEL)
]
KvTypeName = Annotated[
    KvType,
    Option(
        "--kv",
        help="How keys and values are kept: int8 takes the least memory and time, f32 is exact.",
        rich_help_panel=ENGINE_PANEL,
    ),
]
Rounding = Annotated[
    bool,
    Option(
        "--rounding/--no-rounding",
        help="Round what enters compressed weights to int8: faster, and slightly different.",
        rich_help_panel=ENGINE_PANEL,
    ),
]
DraftPath = Annotated[
    Path | None,
    Option(
        "--draft",
        metavar="BUNDLE",
        help="A smaller bundle of the same tokenizer that writes ahead: the same answer, often sooner.",
        rich_help_panel=ENGINE_PANEL,
    ),
]
Lookup = Annotated[
    bool,
    Option(
        "--lookup",
        help="Try what came next when this was said before: the same answer, often sooner.",
        rich_help_panel=ENGINE_PANEL,
    ),
]


class Drawing(NamedTuple):
    """How tokens are drawn. The defaults are those of both backends."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0


class Running(NamedTuple):
    """What runs the model, and how."""

    backend: Backend = Backend.ENGINE
    threads: int | None = None
    kv: KvType = KvType.INT8
    rounding: bool = True
    draft: Path | None = None
    lookup: bool = False


ENGINE_ONLY = ("top_k", "min_p", "repetition_penalty", "threads", "kv", "rounding", "draft", "lookup")


def open_bundle(bundle: Path, adapter: str | None, drawing: Drawing, running: Running) -> "Opened":
    """Open a bundle. Errors: `UserError` for what is none, and for options that the backend does not have."""
    if drawing.top_p == 0.0:
        raise UserError("--top-p 0 leaves no token to draw; 1 keeps all, and --temperature 0 takes the likeliest")
    if running.backend is Backend.JAX:
        return _open_on_jax(bundle, adapter, drawing, running)
    from codling.chat.open_engine import open_on_engine
    from codling.engine.sampling import Sampling

    if running.draft is not None and running.lookup:
        raise UserError("--draft and --lookup are two sources of proposals; leave one of them out")
    speculate: Any = "draft" if running.draft else "lookup" if running.lookup else "none"
    return open_on_engine(
        bundle,
        adapter,
        Sampling(**drawing._asdict()),
        num_threads=running.threads,
        kv_type=running.kv.value,
        rounds_activations=running.rounding,
        draft=running.draft,
        speculate=speculate,
    )


def _open_on_jax(bundle: Path, adapter: str | None, drawing: Drawing, running: Running) -> "Opened":
    given, usual = drawing._asdict() | running._asdict(), Drawing()._asdict() | Running()._asdict()
    for name in ENGINE_ONLY:
        if given[name] != usual[name]:
            option = "no-rounding" if name == "rounding" else name.replace("_", "-")
            raise UserError(f"--{option} is for the engine; leave it out, or --backend jax")
    from codling.chat.open_jax import open_on_jax
    from codling.model.generate import Sampling

    return open_on_jax(bundle, adapter, Sampling(drawing.temperature, drawing.top_p), drawing.seed)
