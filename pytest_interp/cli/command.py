"""What a subcommand is, and the exit statuses of the program."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable
from typing import NamedTuple

OK, FAILED, USAGE = 0, 1, 2
"""Exit statuses."""
_STATUS = re.compile(r"  \d  ")
"""Begins the line of an exit status in a help text."""


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        summary: its line in the help of the program.
        description: the first paragraph of its own help.
        example: a command line for the end of its help.
        statuses: its exit statuses, for the end of its help.
        arguments: declares its arguments on a parser.
        run: does its work with the parsed arguments, and returns the exit status.
        takes_more: whether options that it does not declare are no error; they are ``further`` of its arguments.
    """

    summary: str
    description: str
    example: str
    statuses: str
    arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[argparse.Namespace], int]
    takes_more: bool = False


def filled(text: str, width: int = 80) -> str:
    """Returns a help text in lines of so many columns, for a formatter that leaves them as they are.

    A line that begins with spaces stands alone. Command lines stay whole, so that they can be copied; an exit status
    hangs below its own text.

    Args:
        text: paragraphs, and lines that begin with spaces.
        width: columns of a line.
    """
    lines: list[str] = []
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line and not line.startswith(" "):
            paragraph.append(line)
            continue
        lines += textwrap.wrap(" ".join(paragraph), width)
        paragraph.clear()
        lines += textwrap.wrap(line, width, subsequent_indent=" " * 5) if _STATUS.match(line) else [line]
    return "\n".join(lines).rstrip()
