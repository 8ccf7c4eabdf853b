"""`codling compress`: fewer bits a weight, chosen for the text that a model is to run on."""

from pathlib import Path
from typing import Annotated

from typer import Option

from codling.commands.options import AsJson, BundlePath
from codling.commands.terminal import show_json
from codling.disk import quiet_libraries, writing_to
from codling.ondevice.compress_choices import Rotation, SensitivityMethod

DEFAULT_BITS = 3.7


def compress(
    bundle: BundlePath,
    calibration: Annotated[
        Path,
        Option(metavar="FILE", help="Text like what the model is to read: UTF-8, or .jsonl with a `text` field."),
    ],
    out: Annotated[Path, Option(metavar="DIR", help="Where the bundle goes; not there yet, or empty.")],
    bits: Annotated[
        float, Option(min=1.0, metavar="N", help="Average over the projections, tables and scales included.")
    ] = DEFAULT_BITS,
    max_tokens: Annotated[int, Option("--max-tokens", min=1, help="Of the text, that are read.")] = 32_768,
    sensitivity: Annotated[
        SensitivityMethod,
        Option(help="What the widths are chosen by; measured: for models of which a run takes seconds."),
    ] = SensitivityMethod.ESTIMATED,
    rotate: Annotated[
        list[Rotation] | None,
        Option(help="Rotate it before, by Hadamard matrices; repeatable. residual: of models that allow it."),
    ] = None,
    seed: Annotated[int, Option(min=0, help="Of the draws that say which outputs matter.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Palettize a dense bundle: 16 rows of a matrix share a table of 16 values, or of 4 where that costs least.

    The embedding becomes int8. Errors of one column are made up for by the next ones, as the text's inputs allow.
    """
    from rich.console import Console

    from codling.evaluate.perplexity import read_text
    from codling.ondevice.compress_blocks import CompressConfig
    from codling.ondevice.compress_bundle import CalibrationConfig, compress_bundle
    from codling.progress import build_reporter

    documents = read_text(calibration)
    config = CompressConfig(
        target_bits_per_weight=bits,
        sensitivity=sensitivity,
        rotate_values=Rotation.VALUES in (rotate or []),
        rotate_residual=Rotation.RESIDUAL in (rotate or []),
    )
    console = Console(highlight=False, quiet=as_json)
    with quiet_libraries(), writing_to(out), build_reporter(console) as reporter:
        reporter.stage_started("compress", 1, 1)
        made = compress_bundle(bundle, documents, out, config, CalibrationConfig(max_tokens=max_tokens), seed, reporter)
    figures = made.manifest.metrics
    if as_json:
        show_json({"model": made.manifest.id, "path": str(out), **figures})
        return
    widths = [matrix["width_bits"] for matrix in figures["matrices"].values()]
    shown = ", ".join(f"{widths.count(width)} matrices of {width} bits" for width in sorted(set(widths)))
    console.print(
        f"{made.manifest.id} written to {out}: {figures['bits_per_weight_projections']:.2f} bits a weight, "
        f"{figures['bits_per_weight_total']:.2f} with the embedding ({shown})",
        markup=False,
        soft_wrap=True,
    )
