"""The command ``pytest-interp``. Each subcommand has an entry in ``COMMANDS``.

Exit status of every subcommand: 0 for success, 1 if something failed, moved, or nothing ran, 2 for a wrong command
line. Only the standard library is imported before a subcommand is chosen; ``compare`` and ``merge`` need no model.
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

CHECK_STATUSES = """exit status:
  0  every claim that ran is supported, and at least one ran
  1  a claim failed, the run was interrupted, or no claim ran
  2  the command line is wrong: an option, a path, the name of a model"""
COMPARE_STATUSES = """exit status:
  0  no verdict turned, and no number moved by more than it may (see --fail-on)
  1  a verdict turned or a number moved, or the second ledger is not complete
  2  the command line or a file is wrong: no ledger, another format, no claim in both"""
MERGE_STATUSES = """exit status:
  0  the file was written
  2  the command line or a file is wrong: no ledger, the same claim twice with other results"""
STATUSES = """exit status: 0 for success, 1 if a claim failed or a number moved, 2 for a wrong
command line; the help of each command says more"""


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        summary: its line in the help of the program.
        description: the first paragraph of its own help.
        example: a command line for the end of its help.
        statuses: its exit statuses, for the end of its help.
        arguments: declares its arguments on a parser.
        run: does its work with the parsed arguments, and returns the exit status.
    """

    summary: str
    description: str
    example: str
    statuses: str
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
            epilog=f"example:\n{command.example}\n\n{command.statuses}",
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


# ---- compare


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``compare``."""
    parser.add_argument("before", metavar="BEFORE", help="a ledger: what pytest wrote with --interp-ledger")
    parser.add_argument("after", metavar="AFTER", help="the ledger of a later run, or of another checkpoint")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown, such as for a pull request")
    form.add_argument("--json", action="store_true", help="print JSON, with every claim and number")
    form.add_argument(
        "--github", action="store_true", help="also append Markdown to the summary of a step of GitHub Actions"
    )
    parser.add_argument(
        "--fail-on",
        choices=("verdict", "number", "never"),
        default="number",
        help="what gives exit status 1: a verdict that turned, or also a number that moved by more than it may "
        "(default: number)",
    )


def _compare(options: argparse.Namespace) -> int:
    """Compares two ledgers, without a model; returns the exit status."""
    import json
    from pathlib import Path

    from pytest_interp.compare.comparison import compare
    from pytest_interp.ledger.ledger import read
    from pytest_interp.report import comparison as views

    paths = Path(options.before), Path(options.after)
    names = (str(paths[0]), str(paths[1])) if paths[0].name == paths[1].name else (paths[0].name, paths[1].name)
    comparison = compare(*map(read, paths))
    if options.github:
        _append_to_step_summary(views.markdown(comparison, names))
    if options.markdown:
        print(views.markdown(comparison, names), end="")
    elif options.json:
        print(json.dumps(views.table(comparison), indent=1))
    else:
        views.coloured(views.terminal(comparison, names), sys.stdout.write, colour=_has_colour())
    if options.fail_on != "never" and not comparison.after.run.is_complete:
        run = comparison.after.run
        print(f"pytest-interp: {names[1]} is not complete: {run.ended} of {run.collected} claims", file=sys.stderr)
        return FAILED
    return FAILED if comparison.fails(options.fail_on) else OK


def _append_to_step_summary(text: str) -> None:
    """Appends text to the file that GitHub Actions names."""
    import os
    from pathlib import Path

    from pytest_interp.errors import UsageError

    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        raise UsageError("--github writes to the file that GITHUB_STEP_SUMMARY names, which is not set; use --markdown")
    try:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"GITHUB_STEP_SUMMARY is {target}, which cannot be written: {error.strerror}") from None


def _has_colour() -> bool:
    """Returns whether standard output shows colours: a terminal, without NO_COLOR."""
    import os

    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


# ---- merge


def _merge_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``merge``."""
    parser.add_argument("ledgers", metavar="LEDGER", nargs="+", help="ledgers of parts of one run")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the ledger with the claims of all")


def _merge(options: argparse.Namespace) -> int:
    """Joins ledgers into one file; returns the exit status."""
    from pathlib import Path

    from pytest_interp.errors import UsageError
    from pytest_interp.ledger.json_file import check_path, save
    from pytest_interp.ledger.ledger import read
    from pytest_interp.ledger.merging import merged

    if len(set(options.ledgers)) < len(options.ledgers):
        raise UsageError("the same file was passed twice; pass each ledger once")
    target = Path(options.output)
    check_path(target, "--output")
    whole = merged({path: read(Path(path)) for path in options.ledgers})
    written = save(target, whole)
    print(f"{len(whole.claims)} claims of {len(options.ledgers)} ledgers: {written}")
    return OK


COMMANDS: dict[str, Command] = {
    "check": Command(
        summary="run the claims of this project on one model",
        description="Runs the claims that come with pytest-interp on one model, and shows which findings hold there.\n"
        "The same as: pytest --pyargs pytest_interp.claims --interp-model MODEL [ARGUMENT ...]",
        example="  pytest-interp check ./my-finetune -k name_movers",
        statuses=CHECK_STATUSES,
        arguments=_check_arguments,
        run=_check,
    ),
    "compare": Command(
        summary="compare two runs: which verdicts turned, which numbers moved",
        description="Compares the ledgers of two runs, without a model: a table of the claims whose verdict turned\n"
        "or whose numbers moved by more than float noise explains, worst first.",
        example="  pytest-interp compare before.json after.json\n\nwhere pytest wrote each:\n"
        "  pytest --interp-ledger before.json",
        statuses=COMPARE_STATUSES,
        arguments=_compare_arguments,
        run=_compare,
    ),
    "merge": Command(
        summary="join the ledgers of parts of one run",
        description="Joins the ledgers of shards of one run, or of several checkpoints, into one file.",
        example="  pytest-interp merge shard1.json shard2.json -o all.json",
        statuses=MERGE_STATUSES,
        arguments=_merge_arguments,
        run=_merge,
    ),
}
"""The subcommands by name."""

if __name__ == "__main__":
    sys.exit(main())
