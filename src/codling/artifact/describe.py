"""What an artifact is, and whether it is still whole: what `codling inspect` shows."""

from enum import Enum
from pathlib import Path
from typing import NamedTuple

from codling.artifact.bundle import adapter_names, is_palettized
from codling.artifact.hf import CONFIG_FILE, WEIGHTS_FILE
from codling.artifact.manifest import Manifest, file_sha256
from codling.artifact.model_files import load_config
from codling.artifact.stage import is_result, load_artifact
from codling.model.config import ModelConfig
from codling.model.count import count_parameters


class FileState(Enum):
    """How a file stands to the manifest."""

    WHOLE = "whole"
    CHANGED = "changed"
    MISSING = "missing"
    UNKNOWN = "not in the manifest"


class FileFact(NamedTuple):
    """One file, by its path inside the artifact."""

    name: str
    size_bytes: int
    state: FileState


class ModelFacts(NamedTuple):
    """The model in an artifact."""

    config: ModelConfig
    num_parameters: int
    num_parameters_embedding: int
    is_palettized: bool
    size_bytes: int
    """Of the stored tensors."""

    @property
    def bits_per_weight(self) -> float:
        """Stored bits a parameter, of everything: tables, scales, norms and embedding."""
        return 8 * self.size_bytes / self.num_parameters


class Description(NamedTuple):
    """An artifact's account of itself, checked against its files."""

    path: Path
    manifest: Manifest
    files: tuple[FileFact, ...]
    model: ModelFacts | None
    adapters: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every file is there, as it was when the stage was done."""
        return not any(file.state in (FileState.CHANGED, FileState.MISSING) for file in self.files)


def describe(directory: Path) -> Description:
    """Read the manifest and hash every file. Errors: `UserError` for what is no artifact."""
    manifest = load_artifact(directory).manifest
    has_model = all((directory / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE))
    return Description(
        path=directory,
        manifest=manifest,
        files=_file_facts(directory, manifest.files_sha256),
        model=_model_facts(directory) if has_model else None,
        adapters=tuple(adapter_names(directory)),
    )


def _file_facts(directory: Path, known_sha256: dict[str, str]) -> tuple[FileFact, ...]:
    found = {
        str(path.relative_to(directory)): path
        for path in directory.rglob("*")
        if path.is_file() and is_result(path, directory)
    }
    return tuple(
        FileFact(
            name, found[name].stat().st_size if name in found else 0, _state(found.get(name), known_sha256.get(name))
        )
        for name in sorted(found.keys() | known_sha256.keys())
    )


def _state(path: Path | None, sha256: str | None) -> FileState:
    if path is None:
        return FileState.MISSING
    if sha256 is None:
        return FileState.UNKNOWN
    return FileState.WHOLE if file_sha256(path) == sha256 else FileState.CHANGED


def _model_facts(directory: Path) -> ModelFacts:
    config = load_config(directory)
    count = count_parameters(config)
    return ModelFacts(
        config=config,
        num_parameters=count.total,
        num_parameters_embedding=count.embedding,
        is_palettized=is_palettized(directory),
        size_bytes=_tensor_bytes(directory / WEIGHTS_FILE),
    )


def _tensor_bytes(path: Path) -> int:
    """A safetensors file without its header, whose length is its first eight bytes."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
    return max(0, path.stat().st_size - 8 - header_bytes)
