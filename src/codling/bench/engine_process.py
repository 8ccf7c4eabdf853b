"""One bundle in a process of its own: `python -m codling.bench.engine_process BUNDLE THREADS PROMPT_TOKENS NEW_TOKENS`.

Opens it, runs a prompt of random tokens up to the first token after it, or generates if there is none, and says in one
line of JSON how long opening took and what the process had in memory at most. The engine alone is imported, as in a
program that uses it.
"""

import json
import sys
import time
from pathlib import Path

from codling.bench.engine_ours import OurSide


def main(bundle: Path, num_threads: int, prompt_tokens: int, new_tokens: int) -> None:
    """Do all that, in this process."""
    start_s = time.perf_counter()
    side = OurSide(bundle, num_threads)
    open_s = time.perf_counter() - start_s
    if prompt_tokens:
        # As it is: the contexts of `generate` may be made of repeats, which takes memory.
        side.prompt(prompt_tokens)
    else:
        side.generate(0, new_tokens)
    print(json.dumps({"open_s": open_s, "peak_bytes": _peak_bytes()}))


def _peak_bytes() -> int:
    """Of resident memory, mapped files included. What `getrusage` says begins with the peak of whoever started us."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
