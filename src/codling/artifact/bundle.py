"""The bundle: what users run, move and publish. Hugging Face layout, the manifest, and `adapters/<name>/`.

One that was made of somebody else's checkpoint has their `tokenizer.json` and no `tokenizer.model`.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from codling.adapters.lora import merge
from codling.artifact.adapter_files import attach_adapter
from codling.artifact.hf import CONFIG_FILE, WEIGHTS_FILE, read_json, write_json
from codling.artifact.layout import ADAPTERS_DIRECTORY as ADAPTERS_DIRECTORY
from codling.artifact.layout import NO_ADAPTER as NO_ADAPTER
from codling.artifact.layout import RECOVERY_ADAPTER as RECOVERY_ADAPTER
from codling.artifact.layout import adapter_names as adapter_names
from codling.artifact.layout import find_adapter
from codling.artifact.manifest import Manifest, file_sha256
from codling.artifact.model_files import (
    QUANTIZATION_KEY,
    load_config,
    load_model,
    save_model,
    special_ids_of,
    tokenizer_of,
)
from codling.artifact.outputs import new_directory
from codling.artifact.stage import load_artifact
from codling.errors import UserError
from codling.model.transformer import Transformer
from codling.tokenizer.encode import MODEL_FILE, Tokenizer
from codling.tokenizer.hf_files import tokenizer_files
from codling.tokenizer.imported import GENERATION_FILE, ImportedTokenizer, TextTokenizer
from codling.tokenizer.special_tokens import BOS, END, EOS, PAD

OWN_GENERATION = {"bos_token_id": BOS.id, "eos_token_id": [END.id, EOS.id], "pad_token_id": PAD.id, "do_sample": False}
"""`generation_config.json` for codling's own tokenizers."""


class Bundle(NamedTuple):
    """A bundle, opened and ready to run."""

    path: Path
    manifest: Manifest
    model: Transformer
    tokenizer: TextTokenizer
    adapter: str
    """Name of the adapter that is in the model, or `none`."""
    base: Transformer
    """The model without adapter."""
    base_sha256: str
    """Of the weights file: what adapters name their base by."""

    @property
    def identity(self) -> str:
        """Base and adapter, as replies name them."""
        return f"{self.manifest.id}+{self.adapter}"


def write_bundle_files(directory: Path, model_directory: Path, tokenizer: TextTokenizer) -> None:
    """Copy a model's files and add the tokenizer's and the generation defaults."""
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copyfile(model_directory / name, directory / name)
    write_tokenizer_files(directory, tokenizer)


def write_tokenizer_files(directory: Path, tokenizer: TextTokenizer) -> None:
    """Add the tokenizer's files and the generation defaults to the model in a directory."""
    if isinstance(tokenizer, ImportedTokenizer):
        files = tokenizer.files
    else:
        files = tokenizer_files(tokenizer, load_config(directory).context_length_tokens)
        write_json(directory / GENERATION_FILE, OWN_GENERATION)
    for name, content in files.items():
        (directory / name).write_bytes(content)


def load_bundle(directory: Path, adapter: str | None = None) -> Bundle:
    """Open a bundle, with its recovery adapter if it has one, or with the adapter named.

    That is one of its own, the directory of another, or `none`.
    Errors: `UserError` for anything that is not a whole bundle, a tokenizer that the weights were not trained with, or
    an adapter that is not there or was trained for another base.
    """
    manifest = load_artifact(directory, "bundle").manifest
    tokenizer = load_tokenizer(directory, manifest)
    if tokenizer.sha256 != tokenizer_of(directory):
        raise UserError(f"{directory}: the tokenizer does not belong to the weights; copy the bundle again, whole")
    model = load_model(directory)
    if model.config.vocab_size != tokenizer.vocab_size:
        raise UserError(
            f"{directory}: the weights have {model.config.vocab_size} tokens, the tokenizer {tokenizer.vocab_size}"
        )
    weights_sha256 = file_sha256(directory / WEIGHTS_FILE)
    bare = Bundle(directory, manifest, model, tokenizer, NO_ADAPTER, base=model, base_sha256=weights_sha256)
    return with_adapter(bare, adapter)


def with_adapter(bundle: Bundle, adapter: str | None) -> Bundle:
    """The bundle with another adapter, as for `load_bundle`. The base is not read again.

    Errors: `UserError` for an adapter that is not there, was trained for another base, or is damaged.
    """
    directory = find_adapter(bundle.path, adapter)
    if directory is None:
        return bundle._replace(model=bundle.base, adapter=NO_ADAPTER)
    adapted = attach_adapter(bundle.base, directory, bundle.path, base_sha256=bundle.base_sha256)
    return bundle._replace(model=merge(adapted), adapter=directory.resolve().name)


def load_tokenizer(directory: Path, manifest: Manifest) -> TextTokenizer:
    """Codling's own where the manifest lists one, the one that came with the checkpoint otherwise."""
    if MODEL_FILE in manifest.files_sha256:
        return Tokenizer.load(directory)
    return ImportedTokenizer.load(directory, load_config(directory).vocab_size)


def is_palettized(directory: Path) -> bool:
    """Whether the bundle's weights are compressed."""
    return QUANTIZATION_KEY in read_json(directory / CONFIG_FILE)


def export_hf(bundle: Bundle, out: Path) -> None:
    """Write a bundle as plain dense float32 files that transformers and others read, its adapter folded in.

    Errors: as for `new_directory`.
    """
    with new_directory(out) as partial:
        dense = partial / "dense"
        dense.mkdir()
        special_ids = special_ids_of(bundle.path)
        save_model(dense, bundle.model, tokenizer_sha256=bundle.tokenizer.sha256, special_ids=special_ids)
        write_bundle_files(partial, dense, bundle.tokenizer)
        shutil.rmtree(dense)
