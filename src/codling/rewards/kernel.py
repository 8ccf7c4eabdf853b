"""The few calls to the kernel that Python's library does not offer, by ctypes.

The sandbox's own process imports this file: standard library only. Where the C library lacks a call (any system but
Linux), it fails with `OSError`, as a kernel does that refuses it.
"""

import ctypes
import errno
import os

PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 4, 36, 38
CAPABILITY_VERSION = 0x20080522


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library; whole numbers are passed as the machine's long.

    Errors: `OSError` where it returns -1 or is not there.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        raise OSError(errno.ENOSYS, f"{name}: {os.strerror(errno.ENOSYS)}")
    ctypes.set_errno(0)
    result = int(function(*(ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)))
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def set_process_option(option: int, value: int) -> None:
    """Call `prctl` with one of the options above."""
    call("prctl", option, value, 0, 0, 0)


def drop_capabilities() -> None:
    """Give up every capability of this process, for good: call it after `PR_SET_NO_NEW_PRIVS`."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())
