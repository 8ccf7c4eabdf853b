"""A bundle on the native engine.

Opening one maps its weights and reads a few small files: it takes a fraction of a second for gigabytes, and as much
memory as the system has to spare.
"""

import os
from pathlib import Path
from typing import final

from codling.artifact.layout import CONFIG_FILE, TOKENIZER_KEY, WEIGHTS_FILE, read_json
from codling.artifact.manifest import Manifest, file_sha256, read_manifest
from codling.engine._native import DraftModel, Model, PrefixCache, Scheduler
from codling.engine.adapter_cache import AdapterCache, LoadedAdapter
from codling.engine.overflow import OnOverflow
from codling.engine.sampling import Sampling
from codling.engine.session import TOKENS_PER_STEP, Session, Shared
from codling.engine.session_file import check_origin, read_session
from codling.errors import UserError
from codling.tokenizer.encode import MODEL_FILE, Tokenizer
from codling.tokenizer.imported import ImportedTokenizer, TextTokenizer

PREFIX_CACHE_BYTES = 1 << 28
"""Of beginnings that sessions share: for a model of 3B parameters some 5,000 tokens."""
KERNELS_VARIABLE = "CODLING_KERNELS"
"""Names the set of kernels to use: scalar, avx2, avx2vnni, avx512, neon or neon_i8mm. Not set: the fastest that
runs here."""


@final
class Engine:
    """A bundle, ready to run. Threads may share it; what their sessions ask for is run in one batch."""

    def __init__(self, directory: Path, manifest: Manifest, shared: Shared) -> None:
        """For `Engine.open`."""
        self.directory = directory
        self.manifest = manifest
        self.tokenizer = shared.tokenizer
        self._shared = shared
        self._model = shared.model
        self._adapters = AdapterCache(directory, manifest.files_sha256[WEIGHTS_FILE], shared.model)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        num_threads: int | None = None,
        rounds_activations: bool = True,
        kv_type: str = "int8",
        prefix_cache_bytes: int = PREFIX_CACHE_BYTES,
        draft: Path | None = None,
        verify: bool = False,
    ) -> "Engine":
        """Open a bundle.

        `num_threads`: as many as processors, if not given. `rounds_activations`: whether what enters a compressed
        matrix is rounded to int8, one scale per token and block of columns; faster, and slightly different from the
        model that was trained. `kv_type`: how keys and values are kept, int8, bf16 or f32. `prefix_cache_bytes`: memory
        for beginnings that sessions share; 0 for none. `draft`: a smaller bundle of the same tokenizer, for
        `speculate="draft"`. `verify`: whether the weights are compared with the checksum in the manifest.
        Errors: `UserError` for anything that is not a whole bundle, or damaged; for kernels that cannot run here; for a
        draft of another tokenizer.
        """
        manifest = read_manifest(directory)
        if manifest.kind != "bundle":
            raise UserError(f"{directory}: is a {manifest.kind} artifact, need bundle")
        weights = directory / WEIGHTS_FILE
        if verify and file_sha256(weights) != manifest.files_sha256.get(WEIGHTS_FILE):
            raise UserError(f"{weights}: is not the file that the manifest lists; copy the bundle again")
        if num_threads is not None and num_threads < 1:
            raise UserError(f"{num_threads} threads cannot run anything; 1 is the least")
        model = Model(
            str(directory / CONFIG_FILE),
            str(weights),
            num_threads or _num_processors(),
            os.environ.get(KERNELS_VARIABLE, ""),
            rounds_activations,
            kv_type,
        )
        tokenizer = _load_tokenizer(directory, manifest, model.vocab_size)
        drafting = None
        if draft is not None:
            opened = cls.open(
                draft, num_threads=num_threads, rounds_activations=rounds_activations, kv_type=kv_type, verify=verify
            )
            if opened.tokenizer.sha256 != tokenizer.sha256:
                raise UserError(f"{draft}: has another tokenizer than {directory}; a draft model shares it")
            drafting = DraftModel(opened._model, opened.load_adapter().weights)
        scheduler = Scheduler(model, drafting, PrefixCache(model, prefix_cache_bytes), TOKENS_PER_STEP)
        origin = {
            "base": manifest.files_sha256[WEIGHTS_FILE],
            "tokenizer": tokenizer.sha256,
            "type of keys and values": model.kv_layout,
            "kind of activations": "int8" if rounds_activations else "float",
        }
        return cls(directory, manifest, Shared(model, scheduler, tokenizer, origin))

    @property
    def kernels(self) -> str:
        """The set of kernels that runs."""
        return self._model.kernels

    def session(
        self,
        *,
        adapter: str | None = None,
        sampling: Sampling | None = None,
        on_overflow: OnOverflow = "error",
        keep_first_tokens: int = 0,
    ) -> Session:
        """Begin a sequence, with the recovery adapter if the bundle has one, or with the adapter named.

        `on_overflow`: what happens when prompt and answer fill the context: an error for the prompt and an end for the
        answer, or the oldest tokens after `keep_first_tokens` are left out, half a context at a time, and the rest is
        run again; the usage of the reply says how many.
        Errors: `UserError` as for `load_adapter` and `Sampling`, and for more tokens to keep than half the context.
        """
        loaded = self.load_adapter(adapter)
        identity = self.identity(loaded)
        return Session(self._shared, loaded, identity, sampling or Sampling(), on_overflow, keep_first_tokens)

    def close(self) -> None:
        """End all answers. Its memory goes with the last of its sessions."""
        self._shared.scheduler.close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load_session(
        self,
        path: Path,
        *,
        sampling: Sampling | None = None,
        on_overflow: OnOverflow = "error",
        keep_first_tokens: int = 0,
    ) -> Session:
        """Go on with a session that `Session.save` wrote; the rest is as for `session`.

        Errors: `UserError` for a file that is not there or damaged, or was saved with another base, adapter, tokenizer,
        type of keys and values, or kind of activations; and as for `session`.
        """
        stored = read_session(path)
        check_origin(path, stored, self._shared.origin)
        session = self.session(
            adapter=stored.adapter, sampling=sampling, on_overflow=on_overflow, keep_first_tokens=keep_first_tokens
        )
        session.restore(path, stored)
        return session

    def load_adapter(self, adapter: str | None = None) -> LoadedAdapter:
        """Map an adapter, once: one of the bundle's own, the directory of another, or `none`.

        Errors: `UserError` for one that is not there, was trained for another base, or is damaged.
        """
        return self._adapters.load(adapter)

    def identity(self, adapter: LoadedAdapter) -> str:
        """Base and adapter, as replies name them."""
        return f"{self.manifest.id}+{adapter.name}"


def _load_tokenizer(directory: Path, manifest: Manifest, vocab_size: int) -> TextTokenizer:
    tokenizer: TextTokenizer
    if MODEL_FILE in manifest.files_sha256:
        tokenizer = Tokenizer.load(directory)
    else:
        tokenizer = ImportedTokenizer.load(directory, vocab_size)
    if tokenizer.sha256 != read_json(directory / CONFIG_FILE).get(TOKENIZER_KEY) or tokenizer.vocab_size != vocab_size:
        raise UserError(f"{directory}: the tokenizer does not belong to the weights; copy the bundle again, whole")
    return tokenizer


def _num_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
