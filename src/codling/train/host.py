"""How a process sets itself up to compute on its host: every core a device, and memory kept from step to step.

XLA asks the C library for a step's working memory (hundreds of megabytes) anew at each step and gives it back at its
end. glibc passes such requests on to the kernel, which hands out empty pages one by one, a fault each: a fifth of a
training step of the quickstart (`bench/results/LOG.md`).
"""

import ctypes
import importlib.util
import os
from pathlib import Path

# <malloc.h> of glibc.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1
OTHER_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm7_plugin", "jax_rocm60_plugin")


def prepare_host() -> None:
    """Set this process up to train. To be called once, before JAX starts."""
    keep_freed_memory()
    use_all_cores()
    pass_over_missing_tpus()


def use_all_cores() -> None:
    """Ask JAX for one device a core, as `codling.train.sharding` explains, unless the user asked for something.

    A power of two, so that it divides batches. By the environment, because JAX must not start for `--help`.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(1 << (cores.bit_length() - 1)))


def pass_over_missing_tpus() -> None:
    """Tell JAX not to look for TPUs where libtpu is here for `codling plan` alone: it would say at length that it found
    none. What the user set, and other accelerators' plugins, are left as they are.
    """
    has_libtpu = importlib.util.find_spec("libtpu") is not None
    has_chips = any(Path("/dev").glob("accel*")) or any(Path("/dev").glob("vfio/*"))
    if has_libtpu and not has_chips and not any(map(importlib.util.find_spec, OTHER_PLUGINS)):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed for the next request. True where it listens (glibc).

    To be called once, before JAX starts its threads. The price: the process never gives its peak back.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # All from the one heap that grows and is not trimmed: no mapping of its own for a large request, and no heaps
    # of their own for other threads, which are too small for one.
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_ARENA_MAX, 1))
    results = [mallopt(parameter, value) for parameter, value in settings]
    return all(result == 1 for result in results)
