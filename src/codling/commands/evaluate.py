"""`codling evaluate`: measure a model."""

from pathlib import Path
from typing import Annotated

from typer import Option

from codling.commands.options import AdapterName, AsJson, BundlePath
from codling.commands.terminal import show_json


def perplexity(
    bundle: BundlePath,
    text: Annotated[Path, Option(metavar="FILE", help="UTF-8, one document; .jsonl: one a record, its `text` field.")],
    adapter: AdapterName = None,
    as_json: AsJson = False,
) -> None:
    """Score a text: every token once, from what precedes it in its row.

    Each document begins with its start token and is cut into rows of the model's context length that do not overlap.
    """
    from codling.artifact.bundle import load_bundle
    from codling.evaluate.perplexity import read_text, score_text

    documents = read_text(text)
    opened = load_bundle(bundle, adapter)
    score = score_text(opened.model, opened.tokenizer, documents)
    figures = {
        "nll_per_token": score.nll_per_token,
        "bits_per_byte": score.bits_per_byte,
        "perplexity": score.perplexity,
        "tokens": score.tokens,
    }
    if as_json:
        show_json({"model": opened.identity, "text": str(text), **figures})
    else:
        for name, value in figures.items():
            print(f"{name:14} {value:,.4f}" if isinstance(value, float) else f"{name:14} {value:,}")
