import platform
import subprocess
import sys

import pytest

# In a process of its own: what this changes cannot be taken back. Prints the page faults of a second request.
SCRIPT = """
import ctypes, resource, sys, threading
from codling.train.host import keep_freed_memory

assert sys.argv[1] == "no" or keep_freed_memory()
faults = []

def use():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(64 * 2**20)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

for _ in range(2):
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
print(faults[1])
"""


def faults_of_second_request(choice: str) -> int:
    output = subprocess.run([sys.executable, "-c", SCRIPT, choice], capture_output=True, text=True, check=True)
    return int(output.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_memory_asked_for_again_costs_no_page_faults() -> None:
    assert faults_of_second_request("no") > 1000
    assert faults_of_second_request("keep") < 1000
