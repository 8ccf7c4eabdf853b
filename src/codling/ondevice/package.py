"""The last step on each side: the bundle that users run."""

import shutil
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.bundle import ADAPTERS_DIRECTORY, RECOVERY_ADAPTER, write_bundle_files
from codling.artifact.model_files import load_config
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.model.count import count_parameters
from codling.tokenizer.encode import Tokenizer


@config
class BundleConfig:
    """Nothing to choose: a bundle is its inputs put together."""


def run_server_bundle(config: BundleConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Put a dense model and its tokenizer together. Inputs: model, tokenizer."""
    write_bundle_files(out.path, inputs["model"].path, Tokenizer.load(inputs["tokenizer"].path))
    count = count_parameters(load_config(out.path))
    return {
        "num_parameters": count.total,
        "num_parameters_embedding": count.embedding,
        "bits_per_weight_projections": 32.0,
        "bits_per_weight_total": 32.0,
        "size_bytes": 4 * count.total,
    }


def run_device_bundle(config: BundleConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Put a palettized model, its recovery adapter and its tokenizer together. Inputs: model, recovery, tokenizer."""
    write_bundle_files(out.path, inputs["model"].path, Tokenizer.load(inputs["tokenizer"].path))
    adapter = out.path / ADAPTERS_DIRECTORY / RECOVERY_ADAPTER
    shutil.copytree(inputs["recovery"].path / "adapter", adapter, dirs_exist_ok=True)
    count = count_parameters(load_config(out.path))
    num_adapter = inputs["recovery"].manifest.metrics["num_adapter_parameters"]
    return {
        "num_parameters": count.total,
        "num_parameters_embedding": count.embedding,
        "num_parameters_adapter": num_adapter,
        "size_bytes_adapter": 2 * num_adapter,
        **{
            name: inputs["model"].manifest.metrics[name]
            for name in ("bits_per_weight_projections", "bits_per_weight_total", "size_bytes")
        },
    }
