"""How a process sets itself up to compute on its host: every core a device, and memory that costs few page faults.

XLA asks the C library for a step's working memory (hundreds of megabytes) anew at each step and gives it back at its
end. glibc passes such requests on to the kernel, which hands out empty pages one by one, a fault each: a fifth of a
training step of the quickstart. Pages of 2 MB end that; but only a process that is started so gets them from glibc,
so that the command line starts itself once more. Without them freed memory is kept, for which all threads must share
one arena, and wait for each other: compilation takes 1.4 times as long (`bench/results/LOG.md`).
"""

import ctypes
import importlib.util
import os
import platform
import sys
from pathlib import Path

# <malloc.h> of glibc.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1
LARGE_PAGES, FIRST_GLIBC = "glibc.malloc.hugetlb", (2, 35)
LARGE_PAGES_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
OTHER_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm7_plugin", "jax_rocm60_plugin")


def prepare_host() -> None:
    """Set this process up to train. To be called once, before JAX starts."""
    keep_freed_memory()
    use_all_cores()
    pass_over_missing_tpus()


def restart_with_large_pages() -> None:
    """Start this program anew, as the same process, with large pages for what it allocates; no more than once.

    Nothing happens where kernel or C library do not offer them, or where the user's GLIBC_TUNABLES say how it is to be.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if LARGE_PAGES not in tunables and _offers_large_pages():
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, f"{LARGE_PAGES}=1")))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _offers_large_pages() -> bool:
    library, version = platform.libc_ver()
    if library != "glibc" or tuple(map(int, version.split(".")[:2])) < FIRST_GLIBC:
        return False
    return LARGE_PAGES_SETTING.exists() and "[never]" not in LARGE_PAGES_SETTING.read_text(encoding="ascii")


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
    # All from heaps that grow and are not trimmed, and no mapping of its own for a large request.
    settings = [(_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER)]
    if f"{LARGE_PAGES}=1" not in os.environ.get("GLIBC_TUNABLES", ""):
        # Heaps of other threads than the first are too small for a large request, and it is mapped all the same:
        # dear without large pages.
        settings.append((_ARENA_MAX, 1))
    results = [mallopt(parameter, value) for parameter, value in settings]
    return all(result == 1 for result in results)
