"""`codling import`, `export` and `inspect`: what comes from other libraries, what goes to them, and what it is."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from codling.commands.options import AdapterName, AsJson, BundlePath
from codling.commands.terminal import open_console
from codling.disk import writing_to

EXIT_DAMAGED = 1


class ExportFormat(StrEnum):
    """What a bundle may be written as."""

    hf = "hf"


def export(
    bundle: BundlePath,
    to: Annotated[
        ExportFormat, Option(help="hf: dense float32 in the Hugging Face layout, read by transformers and vLLM.")
    ],
    out: Annotated[Path, Option(metavar="DIR", help="A directory that is not there yet, or empty.")],
    adapter: AdapterName = None,
) -> None:
    """Write a bundle for other libraries, its adapter folded in."""
    from codling.artifact.bundle import export_hf, load_bundle

    opened = load_bundle(bundle, adapter)
    with writing_to(out):
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

    with writing_to(out):
        made = import_checkpoint(checkpoint, out)
    print(f"{made.manifest.id} written to {out}")
    print(f"next:    codling generate {out} --raw --prompt 'Once upon a time'")


def inspect(
    artifact: Annotated[Path, Argument(metavar="ARTIFACT", help="Directory of any stage's artifact, or of a bundle.")],
    as_json: AsJson = False,
) -> None:
    """Show what an artifact is and where it came from, and check its files.

    Exit status 1 says that some of them changed or are missing.
    """
    from codling.artifact.describe import describe
    from codling.show import artifact_json, show_artifact, show_json

    description = describe(artifact)
    if as_json:
        show_json(artifact_json(description))
    else:
        show_artifact(description, open_console())
    if not description.is_whole:
        raise typer.Exit(EXIT_DAMAGED)
