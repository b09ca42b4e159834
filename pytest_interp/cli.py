"""The command ``pytest-interp``. Each subcommand has an entry in ``COMMANDS``.

Exit status of every subcommand: 0 if all that ran succeeded, 1 if something failed or nothing ran, 2 for a wrong
command line. Only the standard library is imported before a subcommand is chosen.
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
    """A subcommand.

    Attributes:
        summary: its line in the help of the program.
        description: the first paragraph of its own help.
        example: a command line for the end of its help.
        arguments: declares its arguments on a parser.
        run: does its work with the parsed arguments, and returns the exit status.
    """

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
        The exit status: 0 (success), 1 (something failed or nothing ran) or 2 (wrong command line).

    Example:
        >>> main(["--version"])  # doctest: +ELLIPSIS
        pytest-interp ...
        0
    """
    try:
        options = _parser().parse_args(sys.argv[1:] if arguments is None else list(arguments))
    except SystemExit as end:  # argparse has printed the help or the error
        return OK if end.code in (None, OK) else USAGE
    return COMMANDS[options.command].run(options)


def _parser() -> argparse.ArgumentParser:
    """Returns the parser of the program with all subcommands."""
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
    """Prints the version; looks it up only then, since that takes time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"pytest-interp {version('pytest-interp')}")
        parser.exit()


# ---- check


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``check``."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="planted-ioi, smollm2-135m-instruct, gpt2, a name on the Hugging Face hub, a directory, or a .gguf file",
    )
    parser.add_argument(
        "pytest_arguments",
        metavar="ARGUMENT",
        nargs=argparse.REMAINDER,
        help="further arguments for pytest, such as -k name_movers or --interp-prompts 96; pytest --help lists them",
    )


def _check(options: argparse.Namespace) -> int:
    """Runs the claims of this project on one model; returns the exit status."""
    import pytest

    counter = _Counter()
    # pytest warns that it cannot rewrite the assertions of this package, which this command has imported already.
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main(
        [*quiet, *own_claims(), "--interp-model", options.model, *options.pytest_arguments], plugins=[counter]
    )
    if code == pytest.ExitCode.USAGE_ERROR:
        return USAGE
    if code == pytest.ExitCode.NO_TESTS_COLLECTED or (
        code == pytest.ExitCode.OK and counter.expected and not counter.count
    ):
        print(f"pytest-interp: no claim ran on {options.model}; see above for why", file=sys.stderr)
        return FAILED
    return OK if code == pytest.ExitCode.OK else FAILED


def own_claims() -> list[str]:
    """Returns the arguments that name this project's claims to pytest.

    Returns:
        ``--pyargs`` and a package where a wheel is installed; the path of a folder in a clone.
    """
    from pytest_interp.plugin.claim_files import own_folder

    folder = own_folder()
    return ["--pyargs", "pytest_interp.claims"] if folder.parent.name == "pytest_interp" else [str(folder)]


class _Counter:
    """A plugin that counts the claims whose body ran without a skip.

    Attributes:
        expected: whether claims are to run at all; False with ``--collect-only``.
        count: number of claims that ran.
    """

    def __init__(self) -> None:
        self.expected, self.count = False, 0

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Notes whether claims are to run."""
        self.expected = not session.config.option.collectonly

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts a claim that ran."""
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
