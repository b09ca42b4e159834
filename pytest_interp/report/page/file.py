"""Where a page is written: paths that are refused before a run, and a file that is whole or as it was."""

from __future__ import annotations

from pathlib import Path

from pytest_interp.common.files import check_writable, write_whole
from pytest_interp.errors import UsageError

GENERATOR = '<meta name="generator" content="pytest-interp">'
"""Stands in the head of each page: another file is never replaced."""
SUFFIXES = (".html", ".htm")


def check_path(path: Path, option: str = "--interp-page") -> None:
    """Refuses a path to which a page cannot be written, or where it would replace a file that is no page.

    Args:
        path: of the page.
        option: the option that names it, for the message.

    Raises:
        UsageError: it has no suffix of HTML, is a folder, cannot be written, or is a file with other content.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{option} is {path}; pass a file that ends in .html")
    check_writable(path, option)
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if GENERATOR.encode() not in file.read(2_000):
                raise UsageError(
                    f"{option} is {path}, a file that pytest-interp has not written and that would be replaced; pass "
                    "another, or delete it"
                )


def save(path: Path, html: str) -> Path:
    """Writes a page as a whole, or leaves what was there.

    Args:
        path: of the page; its folder is made if it is not there.
        html: the page.

    Returns:
        The path that was written.

    Raises:
        OSError: the file cannot be written.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, html)
    return path
