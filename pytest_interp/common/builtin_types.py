"""Converts values to builtin types, for reports that travel between processes and for JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from math import isfinite, isnan
from typing import Any

DEEPEST = 40
"""Levels of nesting from which on a value is replaced by the name of its type."""


def plain(value: Any, depth: int = 0) -> Any:
    """A value in builtin types.

    Scalars of numpy and torch become numbers, arrays lists, dataclasses dictionaries; a Path or any other object
    becomes text. A lone surrogate, which UTF-8 cannot encode, becomes its escape.

    Args:
        value: any value.
        depth: levels of nesting above it.

    Example:
        >>> from pathlib import PurePosixPath
        >>> plain({"path": PurePosixPath("a/b"), "heads": ((9, 9), (9, 6))})
        {'path': 'a/b', 'heads': [[9, 9], [9, 6]]}
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
    """A scalar as a value of the builtin class, if it is of a subclass."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return int(value) if isinstance(value, int) else float(value)


def strict_json(value: Any) -> str:
    """A value as standard JSON; numbers that JSON lacks become the texts ``NaN``, ``Infinity`` and ``-Infinity``.

    Example:
        >>> strict_json(float("nan"))
        '"NaN"'
    """
    return json.dumps(_finite(value), indent=1, allow_nan=False)


def refuse_constant(text: str) -> float:
    """Refuses NaN and infinity, which ``json`` would accept: the ``parse_constant`` of ``json.loads``.

    Args:
        text: the constant.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{text} is no number of JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
