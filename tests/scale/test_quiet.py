import os

import pytest

from codling.scale.quiet import quiet_stderr


def test_nothing_comes_through_until_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr():
        os.write(2, b"noise")
    os.write(2, b"word")
    assert capfd.readouterr().err == "word"


def test_errors_come_through(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), quiet_stderr():
        raise KeyError
    os.write(2, b"word")
    assert capfd.readouterr().err == "word"
