"""The house's own rules that no linter knows."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE, TESTS = ROOT / "src" / "codling", ROOT / "tests"
WITHOUT_TEST = {"errors.py"}
"""One exception class, which every test of bad input raises."""


def test_tests_mirror_the_source() -> None:
    modules = [path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if not path.stem.startswith("__")]
    missing = [
        str(module)
        for module in modules
        if not (TESTS / module.parent / f"test_{module.name}").is_file() and str(module) not in WITHOUT_TEST
    ]
    assert not missing, f"modules without a test file of their own: {', '.join(missing)}"
