import errno
import os

import pytest

from codling.rewards.kernel import call


def test_a_call_gives_what_the_library_gives() -> None:
    assert call("getpid") == os.getpid()


def test_failures_are_os_errors() -> None:
    with pytest.raises(OSError, match="close") as failed:
        call("close", -1)
    assert failed.value.errno == errno.EBADF
    with pytest.raises(OSError, match="no_such_call") as failed:
        call("no_such_call")
    assert failed.value.errno == errno.ENOSYS
