"""The command ``pytest-interp``: one line for each subcommand in ``COMMANDS``, and what each does.

Exit status of every subcommand: 0 where all that ran was well, 1 where something failed or nothing ran, 2 for a command
line that cannot be obeyed. Only the standard library is imported before a subcommand is chosen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pytest

OK, FAILED, USAGE = 0, 1, 2
"""Exit statuses."""

STATUSES = """exit status:
  0  every claim that ran is supported, and at least one ran
  1  a claim failed, the run was interrupted, or no claim ran
  2  the command line is wrong: an option, a path, the name of a model"""


class Command(NamedTuple):
    """A subcommand: its line in ``--help``, its own help, its arguments, and what it does with them."""

    summary: str
    description: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand.

    Args:
        arguments: the command line without the program's name; by default that of the process.

    Returns:
        The exit status: 0 (all well), 1 (something failed or nothing ran) or 2 (usage).

    Example:
        >>> main(["--version"])  # doctest: +ELLIPSIS
        pytest-interp ...
        0
    """
    try:
        options = _parser().parse_args(sys.argv[1:] if arguments is None else list(arguments))
    except SystemExit as end:  # argparse has said why
        return OK if end.code in (None, OK) else USAGE
    return COMMANDS[options.command].run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-interp",
        description="Asks claims about the insides of a language model.",
        epilog="example:\n  pytest-interp check planted-ioi -k behaviour\n\n" + STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subcommands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = subcommands.add_parser(
            name,
            help=command.summary,
            description=command.description,
            epilog=f"example:\n{command.example}\n\n{STATUSES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.arguments(subparser)
    return parser


class _Version(argparse.Action):
    """Prints the version, which is looked up only where it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"pytest-interp {version('pytest-interp')}")
        parser.exit()


# ---- check


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="planted-ioi, smollm2-135m-instruct, gpt2, a name on the Hugging Face hub, a directory, or a .gguf file",
    )
    parser.add_argument(
        "pytest_arguments",
        metavar="ARGUMENT",
        nargs=argparse.REMAINDER,
        help="what else pytest gets, such as -k name_movers or --interp-prompts 96; pytest --help lists the options",
    )


def _check(options: argparse.Namespace) -> int:
    """Runs the claims of this project on one model."""
    import pytest

    ran = _Ran()
    # pytest wants to rewrite this package, which this command has imported already.
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main(
        [*quiet, *own_claims(), "--interp-model", options.model, *options.pytest_arguments], plugins=[ran]
    )
    if code == pytest.ExitCode.USAGE_ERROR:
        return USAGE
    if code == pytest.ExitCode.NO_TESTS_COLLECTED or (code == pytest.ExitCode.OK and ran.expected and not ran.count):
        print(f"pytest-interp: no claim ran on {options.model}; see above for why", file=sys.stderr)
        return FAILED
    return OK if code == pytest.ExitCode.OK else FAILED


def own_claims() -> list[str]:
    """The arguments that name this project's claims to pytest: a package in an installed wheel, a folder in a clone."""
    from pytest_interp.plugin.claim_files import own_folder

    folder = own_folder()
    return ["--pyargs", "pytest_interp.claims"] if folder.parent.name == "pytest_interp" else [str(folder)]


class _Ran:
    """A plugin that counts the claims that ran to their end without a skip."""

    def __init__(self) -> None:
        self.expected, self.count = False, 0

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        self.expected = not session.config.option.collectonly

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.count += report.when == "call" and report.outcome != "skipped"


COMMANDS: dict[str, Command] = {
    "check": Command(
        summary="run the claims of this project on one model",
        description="Runs the claims that come with pytest-interp on one model, and shows which findings hold there.\n"
        "The same as: pytest --pyargs pytest_interp.claims --interp-model MODEL [ARGUMENT ...]",
        example="  pytest-interp check ./my-finetune -k name_movers",
        arguments=_check_arguments,
        run=_check,
    ),
}
"""The subcommands by name."""

if __name__ == "__main__":
    sys.exit(main())
