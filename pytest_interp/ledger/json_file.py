"""Reads and writes the ledger: the outcomes and records of all claims of a run, and the versions, as one JSON file."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from pytest_interp.cache import provenance
from pytest_interp.common.builtin_types import plain, strict_json
from pytest_interp.common.files import check_writable, write_whole
from pytest_interp.errors import UsageError
from pytest_interp.ledger.outcome import ClaimOutcome

FORMAT = 2
"""Version of the layout of the file."""
STREAMS = frozenset(map(Path, ("/dev/stdout", "/dev/stderr")))
"""Paths to which pytest itself writes. It captures other writers there, so records go into its closing summary."""


def versions() -> dict[str, str]:
    """Returns the versions that a number may depend on.

    Returns:
        The version as text, by name of the library; ``pytest`` and ``python`` included.
    """
    return {**provenance.versions(), "pytest": version("pytest"), "python": platform.python_version()}


def check_path(path: Path) -> None:
    """Refuses a path to which records cannot be written, or where they would replace a file that is no ledger.

    It is called before any claim runs, so that a wrong path costs no work.

    Args:
        path: of the ledger.

    Raises:
        UsageError: it is a folder, cannot be written, or is a file with other content.
    """
    if path in STREAMS:
        return
    check_writable(path, "--interp-ledger")
    if path.is_file() and path.stat().st_size and _complete(path) is None:
        raise UsageError(
            f"--interp-ledger is {path}, a file that is no ledger and would be replaced; pass another, or delete it"
        )


def _complete(path: Path) -> bool | None:
    """Returns whether a ledger has the records of a whole run; None for a file that is no ledger."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("claims"), list):
        return None
    return content.get("complete") is not False


def text_of(claims: Iterable[ClaimOutcome], *, ended: int, collected: int) -> str:
    """Returns the text of a ledger.

    Args:
        claims: their outcomes, in the order of the file.
        ended: number of claims that came to their end.
        collected: number of claims that were to run; the ledger is complete where as many have ended.

    Returns:
        Strict JSON, without NaN or infinity, with a newline at its end.
    """
    content = {
        "format": FORMAT,
        "complete": ended >= collected,
        "ended": ended,
        "collected": collected,
        "versions": versions(),
        "claims": [claim.to_json() for claim in claims],
    }
    return strict_json(plain(content)) + "\n"


def save(path: Path, text: str, *, complete: bool) -> Path:
    """Writes a ledger as a whole, or leaves what was there.

    Args:
        path: of the ledger; its folder is made if it is not there.
        text: of the ledger, from :func:`text_of`.
        complete: whether all claims that were to run have ended.

    Returns:
        The path that was written. It is NAME.partial.json beside ``path`` where the run is not complete and ``path``
        has the records of one that was: a partial run must not replace them.

    Raises:
        OSError: the file cannot be written.
    """
    path = path.resolve()
    if not complete and path.is_file() and _complete(path):
        path = path.with_name(f"{path.stem}.partial{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path
