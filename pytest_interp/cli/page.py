"""The subcommand ``page``: the page of a run from its ledger, without a model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pytest_interp.cli.command import OK, Command

if TYPE_CHECKING:
    from pytest_interp.compare.drift import Drift
    from pytest_interp.ledger.ledger import Ledger

STATUSES = """exit status:
  0  the page was written, whatever became of the claims
  2  the command line or a file is wrong: no ledger, a file that is no page and would be replaced"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``page``."""
    parser.add_argument("ledger", metavar="LEDGER", help="the ledger of a run: what pytest wrote with --interp-ledger")
    parser.add_argument("-o", "--output", metavar="FILE.html", required=True, help="the page")
    parser.add_argument(
        "--baseline",
        metavar="LEDGER_OR_NAME",
        help="also show which findings of this ledger, or of this checkpoint of LEDGER, hold on the others",
    )
    parser.add_argument(
        "--series", metavar="LEDGER", nargs="+", default=[], help="also show claims over the checkpoints of ledgers"
    )


def _page(options: argparse.Namespace) -> int:
    """Writes the page of a ledger; returns the exit status."""
    from pathlib import Path

    from pytest_interp.compare.series import series_of
    from pytest_interp.errors import UsageError
    from pytest_interp.ledger.ledger import read
    from pytest_interp.report.page.file import check_path, save
    from pytest_interp.report.page.page import html_of
    from pytest_interp.text import counted

    target = Path(options.output)
    check_path(target, "--output")
    ledger = read(Path(options.ledger))
    drifts = _drifts(ledger, options.baseline) if options.baseline else []
    steps = series_of({path: read(Path(path)) for path in options.series}) if options.series else None
    try:
        written = save(target, html_of(ledger, drifts=drifts, steps=steps))
    except OSError as error:
        raise UsageError(f"--output is {target}, which cannot be written: {error.strerror}") from None
    print(f"page of {counted(len(ledger.claims), 'claim')}, {written.stat().st_size / 1e6:.2f} MB: {written}")
    return OK


def _drifts(ledger: Ledger, baseline: str) -> list[Drift]:
    """Returns the drift of each checkpoint of a ledger against its baseline.

    Args:
        ledger: of the run.
        baseline: the path of another ledger, or the name of a checkpoint of this one. Of a ledger with several
            checkpoints, the one of the same name is the baseline of each.
    """
    from pathlib import Path

    from pytest_interp.compare.drift import drift
    from pytest_interp.errors import UsageError
    from pytest_interp.ledger.ledger import read

    if baseline in ledger.names:
        pairs = [(ledger.of(baseline), ledger.of(name)) for name in ledger.names if name != baseline]
    else:
        other = read(Path(baseline))
        single = len(other.names) == 1
        names = [name for name in ledger.names if single or name in other.names]
        pairs = [(other if single else other.of(name), ledger.of(name)) for name in names]
    if not pairs:
        raise UsageError(
            f"--baseline is {baseline}, which has no checkpoint to compare with; the ledger has "
            f"{', '.join(ledger.names) or 'none'}"
        )
    return [drift(*pair) for pair in pairs]


PAGE = Command(
    summary="write the page of a run: one HTML file to send around",
    description="Writes the page of a run from its ledger, without a model: one HTML file that opens\n"
    "from disk, with every claim, its evidence, heat maps and what was not checked.",
    example="  pytest-interp page run.json --baseline before.json -o run.html\n\nwhere pytest wrote each:\n"
    "  pytest --interp-ledger run.json",
    statuses=STATUSES,
    arguments=_arguments,
    run=_page,
)
