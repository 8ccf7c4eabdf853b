"""How every configuration in the house is declared, checked, read and written.

A configuration is a frozen keyword-only dataclass that stands next to the code it configures. Pydantic checks it
strictly: a wrong type or an unknown key is an error that names the key. On disk it is TOML (recipes) or JSON
(manifests); both hold the same keys.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, dataclass_transform

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

from codling.errors import UserError

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Turn a class into a frozen, keyword-only, strictly checked configuration."""
    checks = pydantic.ConfigDict(extra="forbid", strict=True)
    return pydantic_dataclass(frozen=True, kw_only=True, config=checks)(cls)  # type: ignore[return-value]


def to_dict(value: object) -> dict[str, Any]:
    """Write a configuration as plain JSON values; `None` fields are left out, as TOML has no null."""
    plain = json.loads(pydantic.TypeAdapter(type(value)).dump_json(value, exclude_none=True))
    assert isinstance(plain, dict)
    return plain


def from_dict(cls: type[T], values: Mapping[str, Any], *, source: str) -> T:
    """Read a configuration of class `cls`.

    Errors: `UserError` that names `source`, the dotted key and what is wrong with it.
    """
    try:
        # JSON mode: strict about numbers and strings, but a list may fill a tuple.
        return pydantic.TypeAdapter(cls).validate_json(json.dumps(values))
    except pydantic.ValidationError as error:
        problems = [_describe(problem, cls) for problem in error.errors()]
        raise UserError(f"{source}: " + "; ".join(problems)) from None


def _describe(problem: Any, cls: type[Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        known = ", ".join(_known_keys(cls, problem["loc"][:-1]))
        return f"unknown key '{key}' (known here: {known})" if known else f"unknown key '{key}'"
    if problem["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"key '{key}' is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"key '{key}': {message[0].lower()}{message[1:]}, got {problem['input']!r}" if key else message


def _known_keys(cls: Any, path: Sequence[str | int]) -> list[str]:
    for part in path:
        fields = {field.name: field for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
        if part not in fields:
            return []
        cls = fields[str(part)].type
    return [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def override(values: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b=v` assignments to nested values; `v` is read as TOML, or as a bare string where it is not TOML.

    Errors: `UserError` for an assignment without `=`. Unknown keys are found by `from_dict` afterwards.
    """
    result: dict[str, Any] = json.loads(json.dumps(values))
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise UserError(f"--set {assignment}: write it as key=value, for example server_core.num_steps=100")
        *parents, leaf = path.strip().split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UserError(f"--set {assignment}: '{parent}' is a value, it has no keys of its own")
        place[leaf] = _parse_value(text.strip())
    return result


def _parse_value(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
