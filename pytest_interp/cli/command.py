"""What a subcommand is, and the exit statuses of the program."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

OK, FAILED, USAGE = 0, 1, 2
"""Exit statuses."""


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
