"""Python values as JSON that keeps tuples, sets and dictionaries apart: how a tested call's value leaves the sandbox.

What comes out of the sandbox is not to be trusted: reading gives built-in values only, or fails. (`ast.literal_eval`
would read Python's own notation, but may crash on text made for that.)
"""

import math
from typing import Any

MAX_DEPTH = 20
"""Deeper values, and those that hold themselves, are refused; ours."""


def encode_value(value: object, depth: int = MAX_DEPTH) -> Any:
    """Turn a value into JSON values. Errors: `ValueError` for what is not plain, or too deep."""
    if depth == 0:
        raise ValueError("the value is too deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, dict):
        return {"dict": [[encode_value(key, depth - 1), encode_value(kept, depth - 1)] for key, kept in value.items()]}
    for kind, name in ((list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "set")):
        if isinstance(value, kind):
            return {name: [encode_value(item, depth - 1) for item in value]}
    raise ValueError(f"{type(value).__name__} is no plain value")


def decode_value(stored: Any, depth: int = MAX_DEPTH) -> Any:
    """Turn JSON values back. Errors: `ValueError` for what `encode_value` does not write."""
    if stored is None or isinstance(stored, bool | int | str | float):
        return stored
    if depth == 0 or not isinstance(stored, dict) or len(stored) != 1:
        raise ValueError("not a plain value")
    ((name, content),) = stored.items()
    if name == "float" and content in ("inf", "-inf", "nan"):
        return float(content)
    if not isinstance(content, list):
        raise ValueError("not a plain value")
    try:
        if name == "dict":
            return {decode_value(key, depth - 1): decode_value(kept, depth - 1) for key, kept in content}
        items = [decode_value(item, depth - 1) for item in content]
        return {"list": list, "tuple": tuple, "set": set}[name](items)
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a plain value ({error})") from None
