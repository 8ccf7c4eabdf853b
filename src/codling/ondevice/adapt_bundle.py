"""A feature adapter from a user's demonstrations: what `codling adapt` does."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.bundle import ADAPTERS_DIRECTORY, RECOVERY_ADAPTER, adapter_names, load_tokenizer
from codling.artifact.outputs import check_out, run_stage_as
from codling.artifact.stage import Artifact, Inputs, Stage, load_artifact
from codling.artifact.workspace import Reporter, Workspace
from codling.config import config
from codling.data.loader import Batch
from codling.data.pack import PackedRows
from codling.data.prepare import token_lengths_bytes
from codling.errors import UserError
from codling.evaluate.score import score_batches
from codling.model.transformer import Transformer
from codling.ondevice.adapt import AdaptConfig, adapt
from codling.ondevice.user_rows import UserRows
from codling.tokenizer.imported import TextTokenizer


@config
class AdaptBundleConfig:
    """Everything that the result depends on, beside the bundle."""

    adapt: AdaptConfig
    data_sha256: str
    """Of what was trained on."""


def check_adaptable(directory: Path) -> None:
    """Raise a `UserError` for a bundle without a recovery adapter, which is where features start."""
    load_artifact(directory, "bundle")
    if RECOVERY_ADAPTER not in adapter_names(directory):
        raise UserError(f"{directory}: has no recovery adapter to start from; see codling recover")


def adapt_bundle(
    directory: Path, rows: UserRows, out: Path, config: AdaptConfig, seed: int, reporter: Reporter
) -> Artifact:
    """Write the adapter to `out`; interrupted, the same call goes on where it was.

    Errors: `UserError` as for `check_adaptable` and `check_out`.
    """
    check_adaptable(directory)
    check_out(out)
    bundle = load_artifact(directory, "bundle")
    tokenizer = load_tokenizer(directory, bundle.manifest)
    whole = AdaptBundleConfig(adapt=config, data_sha256=rows.sha256)
    run = partial(_run, rows.train, rows.heldout, tokenizer)
    stage = Stage("adapt", "adapter", 1, whole, {"bundle": "bundle"}, run)
    return run_stage_as(out, stage, {"bundle": bundle}, seed, reporter)


def _run(
    rows: Mapping[str, PackedRows],
    heldout: Mapping[str, list[Batch]],
    tokenizer: TextTokenizer,
    config: AdaptBundleConfig,
    inputs: Inputs,
    out: Workspace,
    key: PRNGKeyArray,
) -> dict[str, Any]:
    lengths_bytes = token_lengths_bytes(tokenizer)

    def measure(model: Transformer) -> dict[str, float]:
        return {kind: score_batches(model, part, lengths_bytes).nll_per_token for kind, part in heldout.items()}

    base = inputs["bundle"].path
    return adapt(config.adapt, base, base / ADAPTERS_DIRECTORY / RECOVERY_ADAPTER, rows, measure, out, key)
