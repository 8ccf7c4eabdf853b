"""The bundle: what users run, move and publish. Hugging Face layout, the manifest, and `adapters/<name>/`."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from codling.adapters.lora import merge
from codling.artifact.adapter_files import attach_adapter
from codling.artifact.hf import CONFIG_FILE, WEIGHTS_FILE, read_json, write_json
from codling.artifact.manifest import Manifest
from codling.artifact.model_files import QUANTIZATION_KEY, load_config, load_model, save_model, tokenizer_of
from codling.artifact.stage import load_artifact
from codling.errors import UserError
from codling.model.transformer import Transformer
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.hf_files import tokenizer_files
from codling.tokenizer.special_tokens import BOS, END, EOS, PAD

ADAPTERS_DIRECTORY = "adapters"
GENERATION_FILE = "generation_config.json"
RECOVERY_ADAPTER = "recovery"
"""The adapter that a palettized bundle uses unless told otherwise."""
NO_ADAPTER = "none"


class Bundle(NamedTuple):
    """A bundle, opened and ready to run."""

    path: Path
    manifest: Manifest
    model: Transformer
    tokenizer: Tokenizer
    adapter: str
    """Name of the adapter that is in the model, or `none`."""

    @property
    def identity(self) -> str:
        """Base and adapter, as replies name them."""
        return f"{self.manifest.id}+{self.adapter}"


def write_bundle_files(directory: Path, model_directory: Path, tokenizer: Tokenizer) -> None:
    """Copy a model's files and add the tokenizer's and the generation defaults."""
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copyfile(model_directory / name, directory / name)
    context_length_tokens = load_config(directory).context_length_tokens
    for name, content in tokenizer_files(tokenizer, context_length_tokens).items():
        (directory / name).write_bytes(content)
    generation = {"bos_token_id": BOS.id, "eos_token_id": [END.id, EOS.id], "pad_token_id": PAD.id, "do_sample": False}
    write_json(directory / GENERATION_FILE, generation)


def adapter_names(directory: Path) -> list[str]:
    """The adapters that a bundle carries."""
    folder = directory / ADAPTERS_DIRECTORY
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def load_bundle(directory: Path, adapter: str | None = None) -> Bundle:
    """Open a bundle, with its recovery adapter if it has one, or with the adapter named (`none`: without).

    Errors: `UserError` for anything that is not a whole bundle, a tokenizer that the weights were not trained with, or
    an adapter that is not there or was trained for another base.
    """
    manifest = load_artifact(directory, "bundle").manifest
    tokenizer = Tokenizer.load(directory)
    if tokenizer.sha256 != tokenizer_of(directory):
        raise UserError(f"{directory}: the tokenizer does not belong to the weights; copy the bundle again, whole")
    names = adapter_names(directory)
    if adapter is None:
        adapter = RECOVERY_ADAPTER if RECOVERY_ADAPTER in names else NO_ADAPTER
    model = load_model(directory)
    if model.config.vocab_size != tokenizer.vocab_size:
        raise UserError(
            f"{directory}: the weights have {model.config.vocab_size} tokens, the tokenizer {tokenizer.vocab_size}"
        )
    if adapter != NO_ADAPTER:
        if adapter not in names:
            raise UserError(f"{directory}: no adapter '{adapter}' (it has: {', '.join(names) or 'none'})")
        model = merge(attach_adapter(model, directory / ADAPTERS_DIRECTORY / adapter, directory))
    return Bundle(directory, manifest, model, tokenizer, adapter)


def is_palettized(directory: Path) -> bool:
    """Whether the bundle's weights are compressed."""
    return QUANTIZATION_KEY in read_json(directory / CONFIG_FILE)


def export_hf(bundle: Bundle, out: Path) -> None:
    """Write a bundle as plain dense float32 files that transformers and others read, its adapter folded in.

    Errors: `UserError` if `out` is there and not empty; then nothing is written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not empty; choose another --out")
    parent = next(path for path in out.absolute().parents if path.exists())
    if not parent.is_dir():
        raise UserError(f"{out}: cannot be made, as {parent} is a file; choose another --out")
    # Named after this process: what somebody else keeps beside `out` is never touched.
    out = out.resolve()
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        dense = partial / "dense"
        dense.mkdir(parents=True)
        save_model(dense, bundle.model, tokenizer_sha256=bundle.tokenizer.sha256)
        write_bundle_files(partial, dense, bundle.tokenizer)
        shutil.rmtree(dense)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
