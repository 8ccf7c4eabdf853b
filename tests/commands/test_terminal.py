import pytest

from codling.commands.terminal import complain, open_console, show_json


def test_a_complaint_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    complain("first\nsecond")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "codling: first second\n")


def test_the_console_writes_to_stdout_and_colors_nothing_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    open_console().print("12 and 'text'")
    assert capsys.readouterr().out == "12 and 'text'\n"


def test_json_keeps_letters_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"name": "größer"})
    assert "größer" in capsys.readouterr().out
