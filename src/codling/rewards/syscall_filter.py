"""Forbids the sandboxed process what a tested function never needs, by a seccomp filter in classic BPF.

Forbidden: sockets, new processes and programs, signals to others, looking into others, new namespaces and mounts,
and memory that no limit counts. Threads stay allowed. A forbidden call fails with EPERM, which Python shows as
`PermissionError`; `clone3` hides its flags from a filter and fails with ENOSYS, so that the C library uses `clone`.
The filter cannot be taken off again, and threads inherit it.
"""

import ctypes
import errno
import platform
import struct

from codling.rewards.kernel import PR_SET_NO_NEW_PRIVS, call, set_process_option

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
ALLOW, KILL_PROCESS, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
LOAD_WORD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_OFFSET, ARCHITECTURE_OFFSET, FIRST_ARGUMENT_OFFSET = 0, 4, 16
CLONE_THREAD = 0x10000
X32_CALLS = 0x40000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "mount_setattr": (442, 442),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "personality": (135, 92),
    "fanotify_init": (300, 262),
}
"""Name -> its number on x86_64 and on aarch64; source: the kernel's asm/unistd_64.h and asm-generic/unistd.h."""
LIMITED = {"clone": (56, 220), "kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261)}
"""Calls that stay allowed for threads (`clone`) or on the process itself."""
CLONE3 = 435


def install_filter(own_pid: int) -> None:
    """Filter this process's calls from now on. `own_pid`: the one process that it may still signal: itself.

    Errors: `OSError` where the kernel refuses, or on a machine whose call numbers are not known here.
    """
    program = filter_program(platform.machine(), own_pid)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    set_process_option(PR_SET_NO_NEW_PRIVS, 1)
    call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)


def filter_program(machine: str, own_pid: int) -> bytes:
    """Write the filter: one instruction is 8 bytes (operation, steps if true, steps if false, value)."""
    if machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no call numbers known for '{machine}'")
    column = list(ARCHITECTURES).index(machine)
    forbidden, no_such_call = (RETURN, 0, 0, FAIL | errno.EPERM), (RETURN, 0, 0, FAIL | errno.ENOSYS)
    allowed = (RETURN, 0, 0, ALLOW)
    steps = [
        (LOAD_WORD, 0, 0, ARCHITECTURE_OFFSET),
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD_WORD, 0, 0, NUMBER_OFFSET),
        (AT_LEAST, 0, 1, X32_CALLS),
        forbidden,
        (EQUAL, 0, 1, CLONE3),
        no_such_call,
    ]
    for numbers in FORBIDDEN.values():
        if (number := numbers[column]) is not None:
            steps += [(EQUAL, 0, 1, number), forbidden]
    own = [(EQUAL, 1, 0, own_pid), forbidden, allowed]
    tests = {
        "clone": [(ANY_BIT, 1, 0, CLONE_THREAD), forbidden, allowed],
        "kill": own,
        "tgkill": own,
        "prlimit64": [(EQUAL, 2, 0, 0), *own],
    }
    for name, test in tests.items():
        # The block ends in a return either way, so that what follows still has the call's number loaded.
        block = [(LOAD_WORD, 0, 0, FIRST_ARGUMENT_OFFSET), *test]
        steps += [(EQUAL, 0, len(block), LIMITED[name][column]), *block]
    return b"".join(struct.pack("=HBBI", *step) for step in [*steps, allowed])
