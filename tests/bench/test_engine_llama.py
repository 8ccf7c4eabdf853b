import sys
from collections.abc import Iterator

import pytest

from codling.bench.engine_llama import check_types, llama_package
from codling.errors import UserError


@pytest.fixture(autouse=True)
def forget_the_package() -> Iterator[None]:
    llama_package.cache_clear()
    yield
    llama_package.cache_clear()


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(UserError, match=r"needs llama-cpp-python: CMAKE_ARGS=.* pip install llama-cpp-python"):
        check_types(["Q4_0"])


def test_a_package_that_does_not_load_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> object:
        raise FileNotFoundError("libllama.so")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(UserError, match=r"does not load .libllama\.so."):
        check_types(["Q4_0"])
