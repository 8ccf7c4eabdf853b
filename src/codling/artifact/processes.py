"""The processes of one build: all of them compute, one of them writes.

They share a file system. Every process runs every stage, since all must take part in training; what the others would
write goes to a directory that is thrown away.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_lead() -> bool:
    """Whether this process is the one that writes; the only process always is."""
    return jax.process_index() == 0


def wait_for_all(reason: str) -> None:
    """Go on when every process has come here with the same reason."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(reason)


def any_process(answer: bool) -> bool:
    """Whether any process says yes; all have to ask at the same point."""
    if jax.process_count() == 1:
        return answer
    return bool(np.any(multihost_utils.process_allgather(np.asarray(answer))))
