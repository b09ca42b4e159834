"""Where a ledger is written: paths that are refused before a run, and a file that is whole or as it was."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

from pytest_interp.cache import provenance
from pytest_interp.common.files import check_writable, write_whole
from pytest_interp.errors import UsageError
from pytest_interp.ledger.ledger import Ledger

STREAMS = frozenset(map(Path, ("/dev/stdout", "/dev/stderr")))
"""Paths to which pytest itself writes. It captures other writers there, so records go into its closing summary."""


def versions() -> dict[str, str]:
    """Returns the versions that a number may depend on.

    Returns:
        The version as text, by name of the library; ``pytest`` and ``python`` included.
    """
    return {**provenance.versions(), "pytest": version("pytest"), "python": platform.python_version()}


def check_path(path: Path, option: str = "--interp-ledger") -> None:
    """Refuses a path to which records cannot be written, or where they would replace a file that is no ledger.

    It is called before any claim runs, so that a wrong path costs no work.

    Args:
        path: of the ledger.
        option: the option that names it, for the message.

    Raises:
        UsageError: it is a folder, cannot be written, or is a file with other content.
    """
    if path in STREAMS:
        return
    check_writable(path, option)
    if path.is_file() and path.stat().st_size and _complete(path) is None:
        raise UsageError(
            f"{option} is {path}, a file that is no ledger and would be replaced; pass another, or delete it"
        )


def _complete(path: Path) -> bool | None:
    """Returns whether a ledger has the records of a whole run; None for a file that is no ledger.

    The file may be of another format: it is a ledger all the same, and may be replaced.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("claims"), list):
        return None
    run = content.get("run", content)
    return not isinstance(run, dict) or run.get("complete") is not False


def save(path: Path, ledger: Ledger) -> Path:
    """Writes a ledger as a whole, or leaves what was there.

    Args:
        path: of the ledger; its folder is made if it is not there.
        ledger: what is written.

    Returns:
        The path that was written. It is NAME.partial.json beside ``path`` where the run is not complete and ``path``
        has the records of one that was: a partial run must not replace them.

    Raises:
        OSError: the file cannot be written.
    """
    path = path.resolve()
    if not ledger.run.is_complete and path.is_file() and _complete(path):
        path = path.with_name(f"{path.stem}.partial{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, ledger.to_text())
    return path
