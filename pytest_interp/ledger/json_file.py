"""The records of a run as a JSON file: what came of every claim, with what was claimed, seen, and with what."""

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
STREAMS = frozenset(map(Path, ("/dev/stdout", "/dev/stderr")))
"""Where pytest itself writes, and captures what others write: records go into its report."""


def versions() -> dict[str, str]:
    """What a number may depend on."""
    return {**provenance.versions(), "pytest": version("pytest"), "python": platform.python_version()}


def check_path(path: Path) -> None:
    """Refuses, before the work, a path to which records cannot be written or where they would replace something else.

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
    """Whether a file has the records of a whole run; None where it has no records."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("claims"), list):
        return None
    return content.get("complete") is not False


def text_of(claims: Iterable[ClaimOutcome], *, ended: int, collected: int) -> str:
    """The content of a file of records.

    Args:
        claims: what came of each.
        ended: how many came to their end.
        collected: how many were to run.
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
    """Writes records; the file is whole or not there.

    Args:
        path: where to.
        text: of the records.
        complete: whether they are of all claims that were to run.

    Returns:
        Where it was written: NAME.partial.json beside ``path`` where only some of the claims have ended and the records
        of a whole run are there.
    """
    path = path.resolve()
    if not complete and path.is_file() and _complete(path):
        path = path.with_name(f"{path.stem}.partial{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path
