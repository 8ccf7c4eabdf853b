"""A check of answers that are Python functions: what calls of them give is compared with what they should.

A test is written as people write it, `assert add(1, 2) == 3`, and taken apart here: the left side is evaluated in the
sandbox, after the answer's code, and its value comes out; the right side stays outside and is compared there. So the
code can print a verdict, patch `==`, leave early or return something that equals everything: none of that is the value
that is due. What remains possible is to give the right values for the calls without being right in general.
"""

import ast
import re
from typing import Any, Literal, NamedTuple

from codling.config import config
from codling.rewards.plain_values import encode_value
from codling.rewards.sandbox import SandboxConfig, run_calls
from codling.skills.skill import Answer

FENCE = re.compile(r"^```[^\n`]*\n(.*?)(?:^```|\Z)", re.DOTALL | re.MULTILINE)


class CallTest(NamedTuple):
    """A call as Python text, and the value that it should give."""

    call: str
    expected: Any


@config
class PythonTestsCheck:
    """The answer's code gives the right values."""

    kind: Literal["python_tests"] = "python_tests"
    tests: tuple[str, ...]
    """Each of the form `assert call == value`; the value is a literal of numbers, strings, lists, tuples, sets and
    dictionaries."""
    sandbox: SandboxConfig = SandboxConfig()
    """What the code may use; the limits hold for all tests together."""

    def __post_init__(self) -> None:
        if not self.tests:
            raise ValueError("tests is empty; name at least one")
        for test in self.tests:
            read_test(test)

    def score(self, answer: Answer) -> float:
        """The share of tests that pass.

        Errors: `UserError` where this machine cannot isolate the code.
        """
        if answer.tool_calls or not answer.text.strip():
            return 0.0
        tests = [read_test(test) for test in self.tests]
        run = run_calls(code_of(answer.text), [test.call for test in tests], self.sandbox)
        passed = sum(
            result.failure is None and bool(result.value == test.expected)
            for result, test in zip(run.calls, tests, strict=False)
        )
        return passed / len(tests)


def read_test(test: str) -> CallTest:
    """Take a test apart. Errors: `ValueError` for a test of another form."""
    form = f"the test '{test}' must be of the form: assert call == value"
    try:
        (statement,) = ast.parse(test.strip()).body
        assert isinstance(statement, ast.Assert)
        compared = statement.test
        assert isinstance(compared, ast.Compare)
        (operator,), (right,) = compared.ops, compared.comparators
        assert isinstance(operator, ast.Eq)
        expected = ast.literal_eval(right)
        encode_value(expected)
    except (SyntaxError, ValueError, AssertionError, RecursionError, MemoryError):
        raise ValueError(form) from None
    return CallTest(ast.unparse(compared.left), expected)


def code_of(text: str) -> str:
    """The first fenced block of a text, up to its end if it is never closed; the whole text where there is none."""
    found = FENCE.search(text)
    return found[1] if found else text
