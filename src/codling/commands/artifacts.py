"""`codling import`, `export` and `inspect`: what comes from other libraries, what goes to them, and what it is."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from codling.commands.options import AdapterName, AsJson, BundlePath
from codling.commands.terminal import open_console, show_json
from codling.disk import writing_to
from codling.errors import UserError

EXIT_DAMAGED = 1


class ExportFormat(StrEnum):
    """What a bundle may be written as."""

    hf = "hf"
    gguf = "gguf"


def export(
    bundle: BundlePath,
    to: Annotated[
        ExportFormat,
        Option(
            help="hf: dense float32 in the Hugging Face layout, read by transformers and vLLM. "
            "gguf: one file for llama.cpp (needs the extra `gguf`)."
        ),
    ],
    out: Annotated[
        Path,
        Option(metavar="PATH", help="hf: a directory that is not there yet, or empty. gguf: a file, not there yet."),
    ],
    adapter: AdapterName = None,
    weight_type: Annotated[
        str | None, Option("--type", metavar="f32|f16|q8_0", help="gguf: what weights are stored in. Default: f16.")
    ] = None,
) -> None:
    """Write a bundle for other libraries, its adapter folded in; palettized weights become what they stand for."""
    from codling.artifact.bundle import export_hf, load_bundle
    from codling.artifact.gguf_file import DEFAULT_TYPE, export_gguf

    if to is ExportFormat.hf and weight_type is not None:
        raise UserError("--type goes with --to gguf; hf is float32")
    opened = load_bundle(bundle, adapter)
    with writing_to(out):
        if to is ExportFormat.gguf:
            export_gguf(opened, out, weight_type or DEFAULT_TYPE)
        else:
            export_hf(opened, out)
    print(f"{opened.identity} written to {out}")


def import_(
    checkpoint: Annotated[
        Path, Argument(metavar="DIR", help="Checkpoint in the Hugging Face layout, of Qwen3's or Llama's shape.")
    ],
    out: Annotated[Path, Option(metavar="DIR", help="Where the bundle goes; not there yet, or empty.")],
) -> None:
    """Make a bundle of somebody else's checkpoint; the weights stay in the type that they came in.

    Needs config.json, tokenizer.json and model.safetensors (one file or shards); input and output embedding tied.
    """
    from codling.artifact.import_checkpoint import import_checkpoint
    from codling.tokenizer.encode import MODEL_FILE

    with writing_to(out):
        made = import_checkpoint(checkpoint, out)
    print(f"{made.manifest.id} written to {out}")
    is_own = MODEL_FILE in made.manifest.files_sha256
    print("next:    codling", f"chat {out}" if is_own else f"generate {out} --raw --prompt 'Once upon a time'")


def inspect(
    artifact: Annotated[Path, Argument(metavar="ARTIFACT", help="Directory of any stage's artifact, or of a bundle.")],
    as_json: AsJson = False,
) -> None:
    """Show what an artifact is and where it came from, and check its files.

    Exit status 1 says that some of them changed or are missing.
    """
    from codling.artifact.describe import describe
    from codling.show import artifact_json, show_artifact

    description = describe(artifact)
    if as_json:
        show_json(artifact_json(description))
    else:
        show_artifact(description, open_console())
    if not description.is_whole:
        raise typer.Exit(EXIT_DAMAGED)
