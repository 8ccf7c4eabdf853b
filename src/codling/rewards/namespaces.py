"""A world of its own for the sandbox: its processes, its network and its files, by Linux namespaces.

Root may make them anywhere but in most containers; others may where the kernel allows user namespaces. What the new
world holds: a small file system in memory that vanishes with it, the Python library and the system's shared
libraries read-only, no `/proc`, no `/dev`, and no network, not even loopback.
"""

import ctypes
import os
import platform
import sys

from codling.rewards.kernel import call

NEW_FILES, NEW_HOSTNAME, NEW_IPC, NEW_USER, NEW_PROCESSES, NEW_NETWORK = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 2, 4, 4096, 16384, 1 << 18, 2
SYS_MOUNT_SETATTR, AT_RECURSIVE, SET_READ_ONLY_NOSUID_NODEV = 442, 0x8000, 1 | 2 | 4
SYS_PIVOT_ROOT_BY_MACHINE = {"x86_64": 155, "aarch64": 41}
NOBODY = 65534
SHARED_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
COVERED = "/proc"
"""The new root is mounted over this directory, which every Linux has and the new world does not need: so no directory
has to be made outside, and none can stay behind.
"""
WORK = "/tmp"
"""Where the tested program runs, and may write."""


def enter_namespaces() -> None:
    """Move this process into new namespaces; its children are the first of theirs. Call it with one thread only.

    Errors: `OSError` where the kernel refuses.
    """
    user, group = os.geteuid(), os.getegid()
    flags = NEW_FILES | NEW_HOSTNAME | NEW_IPC | NEW_PROCESSES | NEW_NETWORK
    call("unshare", flags if user == 0 else flags | NEW_USER)
    if user != 0:
        maps = {"setgroups": "deny", "uid_map": f"{NOBODY} {user} 1", "gid_map": f"{NOBODY} {group} 1"}
        for name, text in maps.items():
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)


def enter_new_root(size_bytes: int) -> None:
    """Make the small file system and move into it. `size_bytes` bounds all that can be written there.

    Errors: `OSError` where the kernel refuses.
    """
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    options = f"size={size_bytes},nr_inodes=4096,mode=755".encode()
    call("mount", b"tmpfs", COVERED.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, options)
    for path in _readable_directories():
        show_read_only(path, COVERED + path)
    os.mkdir(COVERED + WORK)
    os.chmod(COVERED + WORK, 0o1777)
    os.chdir(COVERED)
    call("syscall", SYS_PIVOT_ROOT_BY_MACHINE.get(platform.machine(), -1), b".", b".")
    call("umount2", b".", MNT_DETACH)
    os.chdir(WORK)


def show_read_only(source: str, place: str) -> None:
    """Show a directory, and all that is mounted below it, at another place too, read-only there."""
    os.makedirs(place, exist_ok=True)
    call("mount", source.encode(), place.encode(), None, MS_BIND | MS_REC, None)
    attributes = (ctypes.c_uint64 * 4)(SET_READ_ONLY_NOSUID_NODEV, 0, 0, 0)
    call("syscall", SYS_MOUNT_SETATTR, -1, place.encode(), AT_RECURSIVE, attributes, ctypes.sizeof(attributes))


def _readable_directories() -> list[str]:
    """The Python library and the shared libraries, none within another."""
    found: list[str] = []
    for path in sorted({*sys.path, *SHARED_LIBRARIES}):
        if os.path.isdir(path) and not any(path.startswith(known + "/") for known in found):
            found.append(path)
    return found
