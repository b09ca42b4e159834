"""The subcommands that read ledgers, without a model: ``compare`` and ``merge``."""

from __future__ import annotations

import argparse
import sys

from pytest_interp.cli.command import FAILED, OK, Command

COMPARE_STATUSES = """exit status:
  0  no verdict turned, and no number moved by more than it may (see --fail-on)
  1  a verdict turned or a number moved, or the second ledger is not complete
  2  the command line or a file is wrong: no ledger, another format, no claim in both"""
MERGE_STATUSES = """exit status:
  0  the file was written
  2  the command line or a file is wrong: no ledger, the same claim twice with other results"""

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


COMPARE = Command(
    summary="compare two runs: which verdicts turned, which numbers moved",
    description="Compares the ledgers of two runs, without a model: a table of the claims whose verdict turned\n"
    "or whose numbers moved by more than float noise explains, worst first.",
    example="  pytest-interp compare before.json after.json\n\nwhere pytest wrote each:\n"
    "  pytest --interp-ledger before.json",
    statuses=COMPARE_STATUSES,
    arguments=_compare_arguments,
    run=_compare,
)
MERGE = Command(
    summary="join the ledgers of parts of one run",
    description="Joins the ledgers of shards of one run, or of several checkpoints, into one file.",
    example="  pytest-interp merge shard1.json shard2.json -o all.json",
    statuses=MERGE_STATUSES,
    arguments=_merge_arguments,
    run=_merge,
)
