"""Values in builtin types, as reports carry them from one process to another and as JSON has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from math import isfinite, isnan
from typing import Any

DEEPEST = 40
"""What is nested deeper is written as its text."""


def plain(value: Any, depth: int = 0) -> Any:
    """A value in builtin types: numbers of numpy and torch as numbers, arrays as lists, a Path and the like as text.

    Half a surrogate pair, which no encoding has, is written as its escape.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return _scalar(value)
    if depth > DEEPEST:
        return f"<{type(value).__name__}>"
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    elif hasattr(value, "tolist"):
        return plain(value.tolist(), depth + 1)
    if isinstance(value, Mapping):
        return {_scalar(str(key)): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value, key=repr)
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    return _scalar(str(value))


def _scalar(value: Any) -> Any:
    """A subclass's value as one of the builtin class."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return int(value) if isinstance(value, int) else float(value)


def strict_json(value: Any) -> str:
    """JSON that every reader takes; numbers that JSON does not have are texts: NaN, Infinity, -Infinity."""
    return json.dumps(_finite(value), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
