"""The records of a run as a JSON file: every verdict with what was claimed, what was seen, and with what."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pytest_interp.files import write_whole


def versions() -> dict[str, str]:
    """What a number may depend on."""
    names = ("transformer-lens", "transformers", "torch", "pytest")
    return {**{name: version(name) for name in names}, "python": platform.python_version()}


def save(path: Path, outcomes: Iterable[Mapping[str, Any]]) -> None:
    """Writes every claim's outcome; the file is whole or not there."""
    content = {"format": 1, "versions": versions(), "claims": list(outcomes)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=1))
