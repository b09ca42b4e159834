"""The subcommands that read ledgers, without a model: ``compare``, ``drift``, ``merge`` and ``series``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from pytest_interp.cli import markdown_file
from pytest_interp.cli.command import FAILED, OK, Command

COMPARE_STATUSES = """exit status:
  0  no verdict turned, and no number moved by more than it may (see --fail-on)
  1  a verdict turned or a number moved, or the second ledger is not complete
  2  the command line or a file is wrong: no ledger, another format, no claim in both"""
DRIFT_STATUSES = """exit status:
  0  no finding of the baseline was lost or reversed
  1  one was
  2  the command line or a file is wrong: no ledger, several checkpoints in one, no claim in both"""
SERIES_STATUSES = """exit status:
  0  the table was printed, whatever became of the claims
  1  the same, but a ledger was left out or is not complete, or a checkpoint has errors
  2  the command line is wrong, or the ledgers are no series: fewer than two, of other claims"""
MERGE_STATUSES = """exit status:
  0  the file was written
  2  the command line or a file is wrong: no ledger, the same claim twice with other results"""


def _form_arguments(parser: argparse.ArgumentParser) -> Any:
    """Declares the forms in which a result is printed, and the file; returns the group of forms."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown, such as for a pull request")
    form.add_argument("--json", action="store_true", help="print JSON, with every claim and number")
    markdown_file.add_option(parser)
    return form


# ---- compare


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``compare``."""
    parser.add_argument("before", metavar="BEFORE", help="a ledger: what pytest wrote with --interp-ledger")
    parser.add_argument("after", metavar="AFTER", help="the ledger of a later run, or of another checkpoint")
    form = _form_arguments(parser)
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
    from pytest_interp.errors import UsageError
    from pytest_interp.ledger.ledger import read
    from pytest_interp.report import comparison as views
    from pytest_interp.text import counted

    paths = Path(options.before), Path(options.after)
    if paths[0].resolve() == paths[1].resolve():
        raise UsageError(f"{paths[0]} was passed twice; pass the ledgers of two runs")
    target = markdown_file.check_path(options.output)
    names = (str(paths[0]), str(paths[1])) if paths[0].name == paths[1].name else (paths[0].name, paths[1].name)
    comparison = compare(*map(read, paths))
    if target:
        markdown_file.save(target, views.markdown(comparison, names))
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
        print(
            f"pytest-interp: {names[1]} is not complete: {run.ended} of {counted(run.collected, 'claim')}",
            file=sys.stderr,
        )
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


# ---- drift


def _drift_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``drift``."""
    parser.add_argument("baseline", metavar="BASELINE", help="the ledger of the baseline, or of a run that judged both")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", nargs="?", help="the ledger of the other checkpoint")
    parser.add_argument(
        "--baseline", metavar="NAME", dest="name", help="of a single ledger: which of its checkpoints is the baseline"
    )
    _form_arguments(parser)


def _drift(options: argparse.Namespace) -> int:
    """Prints what became of a baseline's findings, without a model; returns the exit status."""
    import json
    from pathlib import Path

    from pytest_interp.compare.drift import drift
    from pytest_interp.errors import UsageError
    from pytest_interp.ledger.ledger import read
    from pytest_interp.report import drift as views
    from pytest_interp.report.comparison import coloured

    target = markdown_file.check_path(options.output)
    baseline = read(Path(options.baseline))
    if options.checkpoint is not None:
        pairs = [(baseline, read(Path(options.checkpoint)))]
    elif options.name in baseline.names and len(baseline.names) > 1:
        pairs = [(baseline.of(options.name), baseline.of(name)) for name in baseline.names if name != options.name]
    else:
        raise UsageError(
            f"{options.baseline} has {', '.join(baseline.names) or 'no checkpoint'}; pass a second ledger, or "
            "--baseline with the name of one of several checkpoints"
        )
    drifts = [drift(*pair) for pair in pairs]
    if target:
        markdown_file.save(target, "\n".join(map(views.markdown, drifts)))
    if options.markdown:
        print("\n".join(map(views.markdown, drifts)), end="")
    elif options.json:
        print(json.dumps([views.table(result) for result in drifts], indent=1))
    else:
        for result in drifts:
            coloured(views.terminal(result), sys.stdout.write, colour=_has_colour())
    return FAILED if any(result.counts["lost"] or result.counts["reversed"] for result in drifts) else OK


# ---- merge


def _merge_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``merge``."""
    parser.add_argument("ledgers", metavar="LEDGER", nargs="+", help="ledgers of parts of one run")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the ledger with the claims of all")


def _merge(options: argparse.Namespace) -> int:
    """Joins ledgers into one file; returns the exit status."""
    from pathlib import Path

    from pytest_interp.ledger.json_file import check_path, save
    from pytest_interp.ledger.ledger import read
    from pytest_interp.ledger.merging import merged
    from pytest_interp.text import counted

    _check_different(options.ledgers)
    target = Path(options.output)
    check_path(target, "--output")
    whole = merged({path: read(Path(path)) for path in options.ledgers})
    written = save(target, whole)
    print(f"{counted(len(whole.claims), 'claim')} of {counted(len(options.ledgers), 'ledger')}: {written}")
    return OK


# ---- series


def _series_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``series``."""
    parser.add_argument(
        "ledgers", metavar="LEDGER", nargs="+", help="the ledger of each checkpoint: what --interp-ledger FOLDER/ wrote"
    )
    parser.add_argument(
        "--reference", metavar="NAME", help="the checkpoint with which each is compared (default: the last)"
    )
    _form_arguments(parser)
    parser.add_argument("--figure", metavar="FILE", help="also draw the numbers by step: a .png, .svg or .pdf file")


def _series(options: argparse.Namespace) -> int:
    """Shows what became of claims over a series of checkpoints, without a model; returns the exit status."""
    import json
    from pathlib import Path

    from pytest_interp.compare.series import series_of
    from pytest_interp.errors import UsageError
    from pytest_interp.ledger.ledger import Ledger, read
    from pytest_interp.report import series as views
    from pytest_interp.report.comparison import coloured

    _check_different(options.ledgers)
    if options.figure:
        _check_figure(options.figure)
    target = markdown_file.check_path(options.output)
    ledgers: dict[str, Ledger] = {}
    left_out = []
    for path in options.ledgers:
        try:
            ledgers[path] = read(Path(path))
        except UsageError as error:
            left_out.append(str(error))
    if len(left_out) == len(options.ledgers):
        raise UsageError(left_out[0])
    for reason in left_out:
        print(f"pytest-interp series: left out: {reason}", file=sys.stderr)
    series = series_of(ledgers, options.reference)
    if target:
        markdown_file.save(target, views.markdown(series))
    if options.markdown:
        print(views.markdown(series), end="")
    elif options.json:
        print(json.dumps(views.table(series), indent=1))
    else:
        coloured(views.terminal(series), sys.stdout.write, colour=_has_colour())
    if options.figure:
        from pytest_interp.report.series_figure import figure_of

        figure_of(series).savefig(options.figure, dpi=150)
    for sentence in views.incomplete(series):
        print(f"pytest-interp series: {sentence}", file=sys.stderr)
    errors = any(word == "error" for claim in series.claims for word in claim.words)
    return FAILED if left_out or errors or views.incomplete(series) else OK


def _check_figure(path: str) -> None:
    """Refuses a figure that could not be written, before the table is printed."""
    from pathlib import Path

    from pytest_interp.common.canvas import require_matplotlib
    from pytest_interp.common.files import check_writable
    from pytest_interp.errors import UsageError

    require_matplotlib()
    if Path(path).suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--figure is {path}; pass a .png, .svg or .pdf file")
    check_writable(Path(path), "--figure")


def _check_different(paths: Sequence[str]) -> None:
    """Refuses a file that was passed twice."""
    from pathlib import Path

    from pytest_interp.errors import UsageError

    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise UsageError("the same file was passed twice; pass each ledger once")


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
DRIFT = Command(
    summary="which findings of a baseline hold on another checkpoint",
    description="Says what became of each finding of a baseline on another checkpoint, from their\n"
    "ledgers, without a model: held, weakened, lost, reversed, gained or undecided,\n"
    "what its heads do there, and one sentence.",
    example="  pytest-interp drift original.json finetuned.json\n\nwhere pytest wrote each:\n"
    "  pytest --interp-model ./finetuned --interp-ledger finetuned.json",
    statuses=DRIFT_STATUSES,
    arguments=_drift_arguments,
    run=_drift,
)
MERGE = Command(
    summary="join the ledgers of parts of one run",
    description="Joins the ledgers of shards of one run, or of several checkpoints, into one file.",
    example="  pytest-interp merge shard1.json shard2.json -o all.json",
    statuses=MERGE_STATUSES,
    arguments=_merge_arguments,
    run=_merge,
)
SERIES = Command(
    summary="claims over a series of checkpoints: when each emerges, dips, turns round",
    description="Shows what became of each claim over a series of checkpoints, without a model: its outcome and\n"
    "number by step, from where on it holds, dips, reversals, how much it still moves, and how alike\n"
    "the sets of supported claims are.",
    example="  pytest-interp series series/*.json --figure series.png\n\nwhere pytest wrote each:\n"
    "  pytest claims --interp-model pythia-70m --interp-revision 0:5000:1000 --interp-ledger series/",
    statuses=SERIES_STATUSES,
    arguments=_series_arguments,
    run=_series,
)
