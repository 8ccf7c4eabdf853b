import errno
import logging
import sys
from pathlib import Path

import pytest

from codling.disk import quiet_libraries, refusal, writing_to
from codling.errors import UserError

HERE = Path("runs/mine")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        OSError("1024 requested and 512 written"),
        ValueError("RESOURCE_EXHAUSTED: Failed to write to file 52: No space left on device [os_error_code='28']"),
    ],
    ids=["full", "quota", "limit", "numpy", "orbax"],
)
def test_a_full_disk_is_told_in_one_line_that_names_the_directory(error: Exception) -> None:
    assert refusal(error, HERE) == "runs/mine: no space left to write; free some, then the same command goes on"


def test_without_a_directory_the_file_is_named() -> None:
    assert str(refusal(OSError(errno.ENOSPC, "No space left on device", "a/b"))).startswith("a/b: no space")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a"), "a: permission denied; choose another place"),
        (OSError(errno.EROFS, "Read-only file system", "a"), "a: permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a"), "a: not a directory"),
    ],
)
def test_other_refusals_name_the_place(error: OSError, line: str) -> None:
    assert str(refusal(error)).startswith(line)


@pytest.mark.parametrize("error", [ValueError("bad"), OSError("odd"), BrokenPipeError(errno.EPIPE, "Broken pipe")])
def test_what_is_not_the_disks_stays_as_it_is(error: Exception) -> None:
    assert refusal(error) is None
    with pytest.raises(type(error)), writing_to(HERE):
        raise error


def test_writing_to_names_its_directory_and_lets_user_errors_pass() -> None:
    with pytest.raises(UserError, match="runs/mine: no space left"), writing_to(HERE):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(UserError, match=r"^mine$"), writing_to(HERE):
        raise UserError("mine")


def noise() -> None:
    print("traceback", file=sys.stderr)


def test_libraries_are_quiet_when_the_user_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with quiet_libraries():
            noise()
            raise UserError("mine")

    with pytest.raises(UserError, match="mine"):
        fail()
    assert capsys.readouterr().err == ""


def test_what_libraries_say_is_not_lost_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_libraries():
        noise()
    assert capsys.readouterr().err == "traceback\n"

    def fail() -> None:
        with quiet_libraries():
            noise()
            raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        fail()
    assert capsys.readouterr().err == "traceback\n"
    assert logging.getLogger("absl").level == logging.CRITICAL


def test_what_nobody_can_catch_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    class Loud:
        def __del__(self) -> None:
            raise ValueError("loud")

    before = sys.unraisablehook
    with quiet_libraries():
        Loud()
    assert capsys.readouterr().err == ""
    assert sys.unraisablehook is before
