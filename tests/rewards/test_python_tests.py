import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.rewards.python_tests import PythonTestsCheck, code_of, read_test
from codling.rewards.sandbox import SandboxConfig
from codling.skills.skill import Answer

TESTS = (
    "assert add(1, 2) == 3",
    "assert add('a', 'b') == 'ab'",
    "assert add([1], [(2,)]) == [1, (2,)]",
    "assert add(-1, 0) == -1",
)
CHECK = PythonTestsCheck(tests=TESTS, sandbox=SandboxConfig(allow_weak=True))
RIGHT = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (RIGHT, 1.0),
        (f"Here it is:\n```python\n{RIGHT}\n```\nIt adds.", 1.0),
        ("def add(a, b):\n    return abs(a) + b", 1 / 4),
        ("def add(a, b):\n    return a + b if b else exit()", 3 / 4),
        ("def subtract(a, b):\n    return a - b", 0.0),
        ("print('4 of 4 passed')", 0.0),
        ("class Any:\n    def __eq__(self, other): return True\ndef add(a, b): return Any()", 0.0),
        ("def add(a, b): raise SystemExit(0)", 0.0),
        ("I do not know.", 0.0),
        ("", 0.0),
    ],
)
def test_the_score_is_the_share_that_passes(text: str, share: float) -> None:
    assert CHECK.score(Answer(text)) == share


def test_a_call_is_no_code() -> None:
    assert CHECK.score(Answer(RIGHT, ({"name": "f", "arguments": {}},))) == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("a\n```\nx = 1\n```\n```\ny\n```", "x = 1\n"),
        ("```py\nx = 1", "x = 1"),
        ("```python\n```", ""),
        ("say `x`", "say `x`"),
    ],
)
def test_the_first_block_is_the_code(text: str, code: str) -> None:
    assert code_of(text) == code


def test_tests_are_taken_apart() -> None:
    assert read_test(" assert f( 1 )[0] == {'a': (1, -2.5), 'b': {3}} ") == ("f(1)[0]", {"a": (1, -2.5), "b": {3}})


@pytest.mark.parametrize(
    "test",
    [
        "f(1) == 2",
        "assert f(1)",
        "assert f(1) == g(2)",
        "assert f(1) < 2",
        "assert 1 == f(1) == 2",
        "assert f(",
        "",
        "assert f() == b'x'",
        "assert f() == 1; x = 2",
    ],
)
def test_other_tests_are_refused(test: str) -> None:
    with pytest.raises(UserError, match="must be of the form: assert call == value"):
        from_dict(PythonTestsCheck, {"tests": [test]}, source="x")


def test_no_tests_are_refused() -> None:
    with pytest.raises(UserError, match="tests is empty"):
        from_dict(PythonTestsCheck, {"tests": []}, source="x")
