"""Attacks on the sandbox, each bounded: a hole fails its test and harms nothing.

As a script, `python sandbox_attacks.py DIRECTORY CANARY PORT`, it runs them all as an unprivileged user, with scripts
copied to DIRECTORY, and prints each result as a JSON line. Needs root, to become somebody else.
"""

import json
import os
import sys
from pathlib import Path

TESTS = ["assert answer() == 42"]
RIGHT = "def answer():\n    return 42\n"
"""Every attack defines the right answer last: it scores if the attack is let through, whole or in part."""


def attacks(canary: Path, port: int) -> dict[str, str]:
    """Name -> code, whose attack raises where it is held off. `canary` is a file that must stay as it is."""
    found = {
        "fork bomb": "import os\nfor _ in range(20):\n    os.fork()\n",
        "vfork": "import _posixsubprocess\n",
        "subprocess": "import subprocess\nsubprocess.run(['/bin/true'])\n",
        "spawn": "import os\nos.posix_spawn('/bin/true', ['true'], {})\n",
        "shell": "import os\nassert os.system('true') == 0\n",
        "exec": "import os\nos.execv('/bin/true', ['true'])\n",
        "threads": "import threading\nfor _ in range(20):\n    threading.Thread(target=lambda: None).start()\n",
        "raw threads": "import _thread\n_thread.start_new_thread(print, ())\n",
        "memory bomb": "x = bytearray(1)\nfor _ in range(31):\n    x = x + x\n",
        "endless loop": "for _ in range(10**10):\n    pass\n",
        "sleep": "import time\ntime.sleep(30)\n",
        "recursion": "def f(n):\n    return f(n + 1)\nf(0)\n",
        "write outside": f"open({str(canary)!r}, 'a').write('x')\n",
        "write by descriptor": f"import os\nos.write(os.open({str(canary)!r}, os.O_WRONLY), b'x')\n",
        "delete outside": f"import os\nos.remove({str(canary)!r})\n",
        "rename outside": f"import os\nos.rename({str(canary)!r}, {str(canary) + '.x'!r})\n",
        "link outside": f"import os\nos.symlink({str(canary)!r}, 'link')\nopen('link', 'a').write('x')\n",
        "pipe outside": f"import posix\nposix.mkfifo({str(canary) + '.x'!r})\n",
        "read outside": f"open({str(canary)!r}).read()\n",
        "read by relative path": f"open('../' * 9 + {str(canary)[1:]!r}).read()\n",
        "list outside": "import os\nos.listdir('/')\n",
        "own environment": "import os\nassert os.environ['CODLING_SECRET']\n",
        "parent's environment": "import os\nopen(f'/proc/{os.getppid()}/environ', 'rb').read()\n",
        "kill the parent": "import os\nos.kill(os.getppid(), 0)\n",
        "kill everybody": "import os\nos.kill(-1, 0)\n",
        "become root": "import os\nos.setuid(0)\nassert os.getuid() == 0\nopen('/etc/shadow').read()\n",
        "TCP": f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=1)\n",
        "UDP": f"import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))\n",
        "unix socket": "import socket\nsocket.socketpair()\n",
        "raw socket module": "import _socket\n_socket.socket()\n",
        "flood": "for _ in range(10**4):\n    print('x' * 10**3)\n",
        "flood of errors": "import sys\nfor _ in range(10**4):\n    sys.stderr.write('x' * 10**3)\n",
        "huge file": "with open('big', 'wb') as file:\n    for _ in range(64):\n        file.write(bytes(2**20))\n",
        "many files": "held = [open(f'f{i}', 'w') for i in range(200)]\n",
        "foreign code": "import ctypes\nctypes.CDLL(None).getpid()\n",
        "memory map": "import mmap\nmmap.mmap(-1, 2**20)\n",
        "higher limits": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (99, 99))\n",
        "exit": "raise SystemExit(0)\n",
        "hard exit": "import os\nos._exit(0)\n",
        "fake verdict": (
            "import os, json\nfor fd in range(3, 32):\n    try:\n"
            '        os.write(fd, json.dumps({"token": "", "passed": [True], "isolation": []}).encode())\n'
            "    except OSError:\n        pass\nos._exit(0)\n"
        ),
    }
    return {name: code + RIGHT for name, code in found.items()}


def main() -> None:
    from codling.rewards import sandbox

    directory, canary, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    sandbox.LAUNCHER, sandbox.HARNESS = directory / "sandbox_launcher.py", directory / "sandbox_harness.py"
    sys.executable = "/usr/bin/python3"
    os.setgroups([])
    os.setresgid(*[sandbox.NOBODY] * 3)
    os.setresuid(*[sandbox.NOBODY] * 3)
    limits = sandbox.Limits(wall_time_s=3.0, processor_time_s=1)
    for name, code in ({"nothing": RIGHT} | attacks(canary, port)).items():
        result = sandbox.run_python(code, TESTS, limits)
        print(json.dumps({"name": name, "share": result.share, "isolation": result.isolation}), flush=True)


if __name__ == "__main__":
    main()
