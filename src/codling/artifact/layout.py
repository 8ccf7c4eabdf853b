"""Where things are in a model's directory, and reading them without what runs a model: JAX takes seconds to import."""

import json
from pathlib import Path
from typing import Any

from codling.errors import UserError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

ADAPTERS_DIRECTORY = "adapters"
ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
BASE_KEY = "codling_base_sha256"
"""In `adapter_config.json`: the weights file that the adapter was trained for."""
RECOVERY_ADAPTER = "recovery"
"""The adapter that a palettized bundle uses unless told otherwise."""
NO_ADAPTER = "none"

TOKENIZER_KEY = "codling_tokenizer_sha256"
"""In `config.json`: the tokenizer that the weights were trained with."""


def adapter_names(directory: Path) -> list[str]:
    """The adapters that a bundle carries."""
    folder = directory / ADAPTERS_DIRECTORY
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def find_adapter(bundle: Path, adapter: str | None) -> Path | None:
    """The directory of an adapter: one of the bundle's own, or of another place. None without an adapter.

    Not named: the recovery adapter, if the bundle has it.
    Errors: `UserError` for an adapter that is not there.
    """
    names = adapter_names(bundle)
    if adapter is None:
        adapter = RECOVERY_ADAPTER if RECOVERY_ADAPTER in names else NO_ADAPTER
    if adapter == NO_ADAPTER:
        return None
    directory = bundle / ADAPTERS_DIRECTORY / adapter if adapter in names else Path(adapter)
    if not (directory / ADAPTER_CONFIG_FILE).is_file():
        raise UserError(
            f"{bundle}: no adapter '{adapter}' (it has: {', '.join(names) or 'none'}), and no directory of one"
        )
    return directory


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Errors: `UserError` that names the file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; the bundle is not complete")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a JSON object")
    return values
