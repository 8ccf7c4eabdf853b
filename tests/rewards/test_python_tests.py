import pytest

from codling.rewards.python_tests import PythonTestsCheck, code_of, score_python_tests

DOUBLE = "def double(x):\n    return 2 * x\n"
CHECK = PythonTestsCheck(tests=("assert double(2) == 4", "assert double(3) == 7"))


def test_the_share_that_passes_or_all_of_it() -> None:
    assert score_python_tests(CHECK, DOUBLE) == 0.5
    assert score_python_tests(PythonTestsCheck(tests=CHECK.tests, needs_all=True), DOUBLE) == 0.0
    assert score_python_tests(PythonTestsCheck(tests=CHECK.tests[:1], needs_all=True), DOUBLE) == 1.0


@pytest.mark.parametrize("text", ["", "  ", "def double(", "raise ValueError", "double = None"])
def test_code_that_does_not_run_earns_nothing(text: str) -> None:
    assert score_python_tests(CHECK, text) == 0.0


def test_the_first_fenced_block_is_the_code() -> None:
    assert code_of(f"Here it is:\n```python\n{DOUBLE}```\nand more\n```\nx = 1\n```") == DOUBLE
    assert code_of(f"```\n{DOUBLE}") == DOUBLE  # cut off
    assert code_of(DOUBLE) == DOUBLE


def test_no_tests_are_refused() -> None:
    with pytest.raises(ValueError, match="tests is empty"):
        PythonTestsCheck(tests=())
