"""What the new world shows; that it hides the rest is shown by the attacks of `test_sandbox`."""

import os

import pytest

from codling.errors import UserError
from codling.rewards.sandbox import SandboxConfig, run_calls

LOOK = """
import os
found = ["/" + name for name in os.listdir("/")]
mounted = {path: bool(os.statvfs(path).f_flag & os.ST_RDONLY) for path in (os.path.dirname(os.__file__), "/tmp")}
"""


def test_only_libraries_and_room_to_work() -> None:
    try:
        done = run_calls(LOOK, ["found", "mounted", "os.getcwd()", "os.getpid() < 5"], SandboxConfig(filter=False))
    except UserError as error:
        pytest.skip(str(error))
    if not done.isolation.namespaces:
        pytest.skip("no namespaces here")
    found, mounted, place, first = (result.value for result in done.calls)
    assert "/tmp" in found
    assert not {"/proc", "/dev", "/etc", "/home", "/sys"} & set(found)
    assert mounted == {os.path.dirname(os.__file__): True, "/tmp": False}
    assert place == "/tmp"
    assert first
