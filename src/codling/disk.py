"""What the operating system refuses, in the one line that a user is meant to see."""

import contextlib
import errno
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from codling.errors import Terminated, UserError

FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")
"""How libraries that write files themselves (safetensors, Orbax) say it in errors of their own."""
SHORT_WRITE_TEXT = "requested and"
"""How numpy says it: "1024 requested and 512 written"."""


@contextlib.contextmanager
def writing_to(directory: Path) -> Iterator[None]:
    """Say which directory could not be written to, where the error itself does not.

    Errors: `UserError` for a full disk and for what may not be written.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        message = refusal(error, directory)
        if message is None:
            raise
        raise UserError(message) from error


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hold back what libraries write to stderr, and drop it if the user is told in one line what went wrong.

    On a full disk, checkpointing prints dozens of tracebacks, from threads that nobody can catch them in.
    """
    # Its handler keeps the stderr that it found when it was imported.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    held_back = io.StringIO()
    # Next to a damaged checkpoint, which is told in one line, it leaves reads that complain when nobody awaits them.
    complain, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with contextlib.redirect_stderr(held_back):
            yield
    except (UserError, Terminated, KeyboardInterrupt):
        held_back.truncate(0)
        raise
    finally:
        sys.unraisablehook = complain
        sys.stderr.write(held_back.getvalue())


def refusal(error: Exception, directory: Path | None = None) -> str | None:
    """One line for an error that is the disk's and not ours; None for any other."""
    filename = getattr(error, "filename", None)
    if _is_full(error):
        place = directory or filename or "the disk"
        return f"{place}: no space left to write; free some, then the same command goes on"
    place = filename or directory
    if not isinstance(error, OSError) or error.errno is None or isinstance(error, BrokenPipeError):
        return None
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}: permission denied; choose another place or change its permissions"
    return f"{place}: {(error.strerror or str(error)).lower()}"


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL_ERRNOS
    if isinstance(error, OSError) and SHORT_WRITE_TEXT in str(error):
        return True
    return any(text in str(error) for text in FULL_TEXTS)
