"""Check `python_tests`: the Python in the answer passes tests, run in a sandbox."""

import re
from typing import Literal

from codling.config import config
from codling.rewards.sandbox import Limits, run_python

FENCED = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


@config
class PythonTestsCheck:
    """The answer's code does what it should."""

    kind: Literal["python_tests"] = "python_tests"
    tests: tuple[str, ...]
    """Statements that raise where they fail, such as `assert double(2) == 4`; each sees what the code defined."""
    limits: Limits = Limits()
    needs_all: bool = False
    """Whether one test that fails takes all the credit, or its share."""

    def __post_init__(self) -> None:
        if not self.tests:
            raise ValueError("tests is empty; name at least one")


def score_python_tests(check: PythonTestsCheck, text: str) -> float:
    """Share of the tests that pass; nothing for code that had to be stopped."""
    if not text.strip():
        return 0.0
    share = run_python(code_of(text), check.tests, check.limits).share
    return float(share == 1.0) if check.needs_all else share


def code_of(text: str) -> str:
    """The first fenced block of a text, or all of it where there is none."""
    found = FENCED.search(text)
    return found[1] if found else text
