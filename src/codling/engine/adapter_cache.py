"""Adapters that were mapped for a bundle: each once, whoever uses it."""

import threading
from pathlib import Path
from typing import NamedTuple, final

from codling.artifact.layout import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    ADAPTERS_DIRECTORY,
    BASE_KEY,
    NO_ADAPTER,
    find_adapter,
    read_json,
)
from codling.artifact.manifest import file_sha256
from codling.engine._native import Adapter, Model
from codling.errors import UserError


class LoadedAdapter(NamedTuple):
    """An adapter that sessions may use, or none."""

    name: str
    weights: Adapter | None
    directory: Path | None
    reference: str
    """What finds it again: a name of the bundle's own, which goes where the bundle goes; a directory; or `none`."""

    @property
    def sha256(self) -> str:
        """Of its weights, read again: or `none`."""
        return NO_ADAPTER if self.directory is None else file_sha256(self.directory / ADAPTER_WEIGHTS_FILE)


@final
class AdapterCache:
    """The adapters of a bundle, and others that were trained for it."""

    def __init__(self, bundle: Path, base_sha256: str, model: Model) -> None:
        self._bundle = bundle
        self._base_sha256 = base_sha256
        self._model = model
        self._lock = threading.Lock()
        self._loaded: dict[Path, LoadedAdapter] = {}

    def load(self, adapter: str | None) -> LoadedAdapter:
        """Map one of the bundle's own, the directory of another, or `none`. Not named: the recovery adapter, if any.

        Errors: `UserError` for one that is not there, was trained for another base, or is damaged.
        """
        directory = find_adapter(self._bundle, adapter)
        if directory is None:
            return LoadedAdapter(NO_ADAPTER, None, None, NO_ADAPTER)
        directory = directory.resolve()
        with self._lock:
            if directory not in self._loaded:
                weights = Adapter(self._model, str(directory / ADAPTER_WEIGHTS_FILE), self._rank(directory))
                is_own = directory.parent == (self._bundle / ADAPTERS_DIRECTORY).resolve()
                reference = directory.name if is_own else str(directory)
                self._loaded[directory] = LoadedAdapter(directory.name, weights, directory, reference)
            return self._loaded[directory]

    def _rank(self, adapter: Path) -> int:
        path = adapter / ADAPTER_CONFIG_FILE
        values = read_json(path)
        if values.get(BASE_KEY) != self._base_sha256:
            raise UserError(
                f"{adapter}: this adapter was trained for another base than {self._bundle}; train it for this one"
            )
        rank = values.get("r")
        if not isinstance(rank, int) or isinstance(rank, bool):
            raise UserError(f"{path}: the rank 'r' is missing or not a whole number")
        if values.get("lora_alpha", rank) != rank:
            raise UserError(
                f"{path}: lora_alpha is {values['lora_alpha']!r}, the engine runs adapters with it equal to r"
            )
        return rank
