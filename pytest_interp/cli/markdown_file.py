"""The option ``-o FILE.md`` of commands that print a table: the same as Markdown, in a file."""

from __future__ import annotations

import argparse
from pathlib import Path

MADE = "<!-- made by pytest-interp -->"
"""The first line of each file: another file is never replaced."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """Declares ``-o FILE.md``.

    Args:
        parser: of the command.
    """
    parser.add_argument("-o", "--output", metavar="FILE.md", help="also write Markdown to this file")


def check_path(output: str | None) -> Path | None:
    """Returns the file to which Markdown is to be written; None without one.

    Args:
        output: the value of the option.

    Raises:
        UsageError: it has another suffix, cannot be written, or is a file that no command has written.
    """
    from pytest_interp.common.files import check_writable
    from pytest_interp.errors import UsageError

    if output is None:
        return None
    path = Path(output).expanduser()
    if path.suffix.lower() != ".md":
        raise UsageError(f"--output is {path}; pass a file that ends in .md")
    check_writable(path, "--output")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if not file.read(len(MADE)) == MADE.encode():
                raise UsageError(
                    f"--output is {path}, a file that pytest-interp has not written and that would be replaced; pass "
                    "another, or delete it"
                )
    return path


def save(path: Path, text: str) -> None:
    """Writes Markdown as a whole, or leaves what was there.

    Args:
        path: that `check_path` has returned.
        text: in Markdown.

    Raises:
        UsageError: the file cannot be written.
    """
    from pytest_interp.common.files import write_whole
    from pytest_interp.errors import UsageError

    try:
        write_whole(path, f"{MADE}\n\n{text}")
    except OSError as error:
        raise UsageError(f"--output is {path}, which cannot be written: {error.strerror}") from None
