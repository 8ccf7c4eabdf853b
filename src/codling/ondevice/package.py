"""The last step on each side: the bundle that users run."""

import shutil
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.adapter_files import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE
from codling.artifact.bundle import ADAPTERS_DIRECTORY, RECOVERY_ADAPTER, write_bundle_files
from codling.artifact.model_files import load_config, stored_bits
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.model.count import count_parameters
from codling.ondevice.recover import ADAPTER_DIRECTORY
from codling.tokenizer.encode import Tokenizer

FEATURE_ROLE = "adapter_"
"""Before the name of a feature: the role of its adapter among the inputs."""


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
    """Put a palettized model, its adapters and its tokenizer together.

    Inputs: model (with its recovery adapter), tokenizer, adapter_<feature> for each.
    """
    write_bundle_files(out.path, inputs["model"].path, Tokenizer.load(inputs["tokenizer"].path))
    adapters = {RECOVERY_ADAPTER: inputs["model"].path / ADAPTER_DIRECTORY} | {
        role.removeprefix(FEATURE_ROLE): artifact.path
        for role, artifact in inputs.items()
        if role.startswith(FEATURE_ROLE)
    }
    for name, directory in adapters.items():
        target = out.path / ADAPTERS_DIRECTORY / name
        target.mkdir(parents=True, exist_ok=True)
        for file in (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE):
            shutil.copyfile(directory / file, target / file)
    count = count_parameters(load_config(out.path))
    num_adapter = inputs["model"].manifest.metrics["num_adapter_parameters"]
    return {
        "num_parameters": count.total,
        "num_parameters_embedding": count.embedding,
        "num_parameters_adapter": num_adapter,
        "size_bytes_adapter": 2 * num_adapter,
        **stored_bits(out.path)._asdict(),
    }
