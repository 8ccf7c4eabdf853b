"""A compressed bundle gets its recovery adapter: what `codling recover` does."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.adapters.lora import check_rank
from codling.artifact.bundle import (
    ADAPTERS_DIRECTORY,
    RECOVERY_ADAPTER,
    adapter_names,
    is_palettized,
    load_tokenizer,
    write_tokenizer_files,
)
from codling.artifact.model_files import load_config, load_model, tokenizer_of
from codling.artifact.outputs import check_out, run_stage_as
from codling.artifact.stage import Artifact, Inputs, Stage, load_artifact
from codling.artifact.workspace import Reporter, Workspace
from codling.config import config
from codling.data.loader import Batch
from codling.data.pack import PackedRows
from codling.errors import UserError
from codling.model.transformer import Transformer
from codling.ondevice.recover import ADAPTER_DIRECTORY, RecoverConfig, divergence_figures, recover
from codling.ondevice.user_rows import UserRows
from codling.tokenizer.imported import TextTokenizer


@config
class RecoverBundleConfig:
    """Everything that the result depends on, beside the bundles."""

    recover: RecoverConfig
    data_sha256: str
    """Of what was trained on."""


def check_recoverable(directory: Path, teacher: Path, rank: int) -> None:
    """Raise a `UserError` where a bundle is not palettized, not made of the teacher's, or too small for the rank."""
    load_artifact(directory, "bundle")
    load_artifact(teacher, "bundle")
    if not is_palettized(directory):
        raise UserError(f"{directory}: is not compressed, so there is nothing to recover; see codling compress")
    if RECOVERY_ADAPTER in adapter_names(directory):
        raise UserError(f"{directory}: has a recovery adapter already; recover the bundle that compress made")
    if is_palettized(teacher):
        raise UserError(f"{teacher}: is compressed itself; the teacher is the bundle that was compressed")
    if load_config(directory) != load_config(teacher) or tokenizer_of(directory) != tokenizer_of(teacher):
        raise UserError(f"{teacher}: is not of the shape and tokenizer of {directory}; give what was compressed")
    shape = load_config(directory)
    query_dim, kv_dim = shape.num_query_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    for dim in (query_dim, kv_dim, shape.ffn_dim):
        check_rank(rank, dim, shape.model_dim)


def recover_bundle(
    directory: Path, teacher: Path, rows: UserRows, out: Path, config: RecoverConfig, seed: int, reporter: Reporter
) -> Artifact:
    """Write the bundle with its adapter to `out`; interrupted, the same call goes on where it was.

    Errors: `UserError` as for `check_recoverable`, `check_out` and `recover`.
    """
    check_recoverable(directory, teacher, config.rank)
    check_out(out)
    bundles = {"bundle": load_artifact(directory, "bundle"), "teacher": load_artifact(teacher, "bundle")}
    tokenizer = load_tokenizer(directory, bundles["bundle"].manifest)
    heldout = [batch for part in rows.heldout.values() for batch in part]
    whole = RecoverBundleConfig(recover=config, data_sha256=rows.sha256)
    run = partial(_run, rows.train, heldout, tokenizer)
    stage = Stage("recover", "bundle", 1, whole, {role: role for role in bundles}, run)
    return run_stage_as(out, stage, bundles, seed, reporter)


def _run(
    rows: Mapping[str, PackedRows],
    heldout: list[Batch],
    tokenizer: TextTokenizer,
    config: RecoverBundleConfig,
    inputs: Inputs,
    out: Workspace,
    key: PRNGKeyArray,
) -> dict[str, Any]:
    teacher = load_model(inputs["teacher"].path)

    def measure(model: Transformer) -> dict[str, Any]:
        return divergence_figures(model, teacher, heldout)

    figures = recover(config.recover, inputs["bundle"].path, teacher, rows, measure, out, key)
    write_tokenizer_files(out.path, tokenizer)
    adapters = out.path / ADAPTERS_DIRECTORY
    adapters.mkdir(exist_ok=True)
    (out.path / ADAPTER_DIRECTORY).rename(adapters / RECOVERY_ADAPTER)
    return figures
