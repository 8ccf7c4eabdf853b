"""llama.cpp as the peer of the engine's bench, in this process, through the plain functions of llama-cpp-python.

It is driven as its own programs drive it: batches of tokens, logits of the last one only, greedy choice by its own
sampler, files mapped and repacked as it likes, and its cache of keys and values in the type that is asked for.

Source: https://github.com/abetlen/llama-cpp-python, `llama_cpp/llama_cpp.py` as of 0.3.36; `include/llama.h` there.
"""

import contextlib
import ctypes
import importlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, final

from codling.errors import UserError

INSTALL = "CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python"
TYPE_PREFIX = "LLAMA_FTYPE_MOSTLY_"
FIRST_TOKEN = 100
"""What generation begins with: any word."""


@cache
def llama_package() -> Any:
    """llama-cpp-python, silenced. Errors: `UserError` where it is missing, with the command that installs it."""
    try:
        llama = importlib.import_module("llama_cpp.llama_cpp")
    except ImportError:
        raise UserError(f"the peer llama.cpp needs llama-cpp-python: {INSTALL}") from None
    except (OSError, RuntimeError, FileNotFoundError) as error:
        raise UserError(f"llama-cpp-python is here but does not load ({error}): {INSTALL}") from None
    importlib.import_module("llama_cpp").llama_log_set(_silence, None)
    llama.llama_backend_init()
    return llama


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _silence(level: int, text: bytes, data: object) -> None:
    """Its log: every tensor of every file."""


def check_types(types: Sequence[str]) -> None:
    """Errors: `UserError` for a type of weights that llama.cpp does not have."""
    llama = llama_package()
    known = {name.removeprefix(TYPE_PREFIX) for name in dir(llama) if name.startswith(TYPE_PREFIX)}
    for name in types:
        if name not in known:
            raise UserError(f"llama.cpp has no type of weights '{name}' (it has: {', '.join(sorted(known))})")


def quantize_file(dense: Path, out: Path, type_name: str, num_threads: int) -> None:
    """Make a file of another type of weights, as `llama-quantize` does. Errors: `UserError` where llama.cpp cannot."""
    llama = llama_package()
    parameters = llama.llama_model_quantize_default_params()
    parameters.nthread, parameters.ftype = num_threads, getattr(llama, TYPE_PREFIX + type_name)
    if llama.llama_model_quantize(str(dense).encode(), str(out).encode(), ctypes.byref(parameters)):
        raise UserError(f"{dense}: llama.cpp could not make {type_name} of it")


@final
class LlamaSide:
    """One file and one context of llama.cpp."""

    def __init__(self, path: Path, *, num_threads: int, context_length_tokens: int, cache_type: str = "F16") -> None:
        """Map the file and take the memory for the cache; a length of 0 is the model's own.

        Errors: `UserError` for a file that it does not read, and for a type of cache that it does not have.
        """
        self._llama = llama = llama_package()
        cache = _cache_type(llama, cache_type)
        self._close = contextlib.ExitStack()
        model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        if not model:
            raise UserError(f"{path}: llama.cpp cannot read this file")
        self._close.callback(llama.llama_model_free, model)
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = context_length_tokens
        parameters.n_threads = parameters.n_threads_batch = num_threads
        parameters.type_k = parameters.type_v = cache
        # Off, as in llama-cpp-python: on a processor it halves the speed of generation after 4,096 tokens.
        parameters.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        # A second sequence beside the first, for `repeat`; they share the cells.
        parameters.n_seq_max, parameters.kv_unified = 2, True
        self.vocab_size = int(llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model)))
        self._context = llama.llama_init_from_model(model, parameters)
        if not self._context:
            self._close.close()
            raise UserError(f"{path}: llama.cpp cannot open a context of {context_length_tokens} tokens")
        self._close.callback(llama.llama_free, self._context)
        self._memory = llama.llama_get_memory(self._context)
        self._batch_tokens = llama.llama_n_batch(self._context)
        self._sampler = llama.llama_sampler_init_greedy()
        self._close.callback(llama.llama_sampler_free, self._sampler)

    def __enter__(self) -> "LlamaSide":
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()

    @property
    def num_tokens(self) -> int:
        """Tokens whose keys and values are there."""
        return int(self._llama.llama_memory_seq_pos_max(self._memory, 0)) + 1

    def prompt(self, ids: Sequence[int]) -> int:
        """Forget everything, run a prompt, and choose the first token after it."""
        self._llama.llama_memory_clear(self._memory, False)
        return self._extend(ids)

    def generate(self, context_tokens: int, num_tokens: int) -> list[int]:
        """Forget what comes after the first `context_tokens`, and generate."""
        self._llama.llama_memory_seq_rm(self._memory, 0, context_tokens, -1)
        return list(self._tokens(num_tokens))

    def repeat(self, times: int) -> None:
        """Lengthen what was run by copies of its keys and values, each moved to the positions where it then lies."""
        llama, memory, num_tokens = self._llama, self._memory, self.num_tokens
        size = llama.llama_state_seq_get_size(self._context, 0)
        state = (ctypes.c_uint8 * size)()
        llama.llama_state_seq_get_data(self._context, state, size, 0)
        for number in range(1, times):
            if not llama.llama_state_seq_set_data(self._context, state, size, 1):
                raise UserError(f"llama.cpp has no room for {num_tokens * times} tokens")
            llama.llama_memory_seq_add(memory, 1, -1, -1, number * num_tokens)
            llama.llama_memory_seq_cp(memory, 1, 0, -1, -1)
            llama.llama_memory_seq_rm(memory, 1, -1, -1)

    def _tokens(self, num_tokens: int) -> Iterator[int]:
        token = FIRST_TOKEN
        for _ in range(num_tokens):
            token = self._extend([token])
            yield token

    def _extend(self, ids: Sequence[int]) -> int:
        for begin in range(0, len(ids), self._batch_tokens):
            self._decode(ids[begin : begin + self._batch_tokens])
        return int(self._llama.llama_sampler_sample(self._sampler, self._context, -1))

    def _decode(self, ids: Sequence[int]) -> None:
        tokens = (self._llama.llama_token * len(ids))(*ids)
        status = self._llama.llama_decode(self._context, self._llama.llama_batch_get_one(tokens, len(ids)))
        if status:
            raise UserError(f"llama.cpp could not run {len(ids)} tokens (status {status})")


def _cache_type(llama: Any, name: str) -> int:
    value = getattr(llama, f"GGML_TYPE_{name.upper()}", None)
    if value is None:
        raise UserError(f"llama.cpp has no type of cache '{name}'; F16 and Q8_0 are usual")
    return int(value)
