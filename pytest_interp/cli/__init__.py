"""The command ``pytest-interp``. Each subcommand has an entry in ``COMMANDS``.

Exit status of every subcommand: 0 for success, 1 if something failed, moved, or nothing ran, 2 for a wrong command
line. Only the standard library is imported before a subcommand is chosen; what reads ledgers needs no model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from pytest_interp.cli.check import CHECK
from pytest_interp.cli.command import OK, USAGE, Command, filled
from pytest_interp.cli.discover import DISCOVER
from pytest_interp.cli.explore import EXPLORE
from pytest_interp.cli.ledgers import COMPARE, DRIFT, MERGE, SERIES
from pytest_interp.cli.page import PAGE
from pytest_interp.cli.sweep import SWEEP

COMMANDS: Mapping[str, Command] = {
    "check": CHECK,
    "compare": COMPARE,
    "discover": DISCOVER,
    "drift": DRIFT,
    "explore": EXPLORE,
    "merge": MERGE,
    "page": PAGE,
    "series": SERIES,
    "sweep": SWEEP,
}
"""The subcommands by name."""
STATUSES = """exit status: 0 for success, 1 if a claim failed or a number moved, 2 for a wrong
command line; the help of each command says more"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand.

    Args:
        arguments: the command line without the program's name; by default that of the process.

    Returns:
        The exit status: 0 (success), 1 (something failed or nothing ran) or 2 (wrong command line).

    Example:
        >>> main(["--version"])  # doctest: +ELLIPSIS
        pytest-interp ...
        0
    """
    try:
        parser = _parser()
        options, further = parser.parse_known_args(sys.argv[1:] if arguments is None else list(arguments))
        if further and not COMMANDS[options.command].takes_more:
            parser.error(f"unrecognized arguments: {' '.join(further)}")
        options.further = further
    except SystemExit as end:  # argparse has printed the help or the error
        return OK if end.code in (None, OK) else USAGE
    from pytest_interp.errors import UsageError

    try:
        return COMMANDS[options.command].run(options)
    except UsageError as error:
        print(f"pytest-interp {options.command}: {error}", file=sys.stderr)
        return USAGE


def _parser() -> argparse.ArgumentParser:
    """Returns the parser of the program with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="pytest-interp",
        description="Asks claims about the insides of a language model, and compares two runs.",
        epilog=filled("example:\n  pytest-interp check planted-ioi -k behaviour\n\n" + STATUSES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subcommands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = subcommands.add_parser(
            name,
            help=command.summary,
            description=filled(command.description),
            epilog=filled(f"example:\n{command.example}\n\n{command.statuses}"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.arguments(subparser)
    return parser


class _Version(argparse.Action):
    """Prints the version; looks it up only then, since that takes time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"pytest-interp {version('pytest-interp')}")
        parser.exit()
