"""The records of a run as a JSON file: every verdict with what was claimed, what was seen, and with what."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any


def versions() -> dict[str, str]:
    """What a number may depend on."""
    names = ("transformer-lens", "transformers", "torch", "pytest")
    return {**{name: version(name) for name in names}, "python": platform.python_version()}


def save(path: Path, outcomes: Iterable[Mapping[str, Any]]) -> None:
    """Writes every claim's outcome; the file is whole or not there."""
    content = {"format": 1, "versions": versions(), "claims": list(outcomes)}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
