"""Arguments and options that several commands take, with one wording each."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

BundlePath = Annotated[
    Path, Argument(metavar="BUNDLE", help="Directory of a bundle, for example runs/quickstart/device.")
]
AdapterName = Annotated[
    str | None,
    Option(
        "--adapter",
        metavar="NAME",
        help="Adapter of the bundle, a directory of one, or 'none'. Default: its recovery adapter, if any.",
    ),
]
AsJson = Annotated[bool, Option("--json", help="One JSON object on stdout, for programs.")]
Assignments = Annotated[
    list[str], Option("--set", metavar="a.b=v", help="Override one value of the recipe; repeatable.")
]
