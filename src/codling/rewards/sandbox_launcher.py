"""First step of the sandbox: what only the kernel can do, then the harness in a fresh image of the interpreter.

A script of its own, run by `rewards.sandbox`: `python -I -S sandbox_launcher.py HARNESS SETTINGS`. What it loads to
talk to the kernel is gone after the `exec`, so that nothing of it is within the code's reach.
"""

import ctypes
import os
import sys

CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, SIGKILL = 38, 1, 9


def main() -> None:
    """Ask the kernel for what it gives, and go on as the harness."""
    harness, settings = sys.argv[1:]
    held = []
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        namespaces = CLONE_NEWNET | CLONE_NEWIPC | (0 if os.geteuid() == 0 else CLONE_NEWUSER)
        if libc.unshare(namespaces) == 0:
            held.append("network namespace")
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            held.append("no new privileges")
        # A trainer that is killed must not leave an endless loop behind.
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-B", harness, settings, ",".join(held)])


if __name__ == "__main__":
    main()
