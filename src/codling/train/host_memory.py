"""Memory of the host, kept from step to step.

XLA asks the C library for a step's working memory (hundreds of megabytes) anew at each step and gives it back at its
end. glibc passes such requests on to the kernel, which hands out empty pages one by one, a fault each: a fifth of a
training step of the quickstart (`bench/results/LOG.md`).
"""

import ctypes

# <malloc.h> of glibc.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1


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
