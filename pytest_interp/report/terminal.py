"""The closing table of a run, for a terminal of 80 columns.

Everything comes from the tests' reports, so that it is the same under pytest-xdist. Only *supported* counts as
support; not applicable, not checked and errors are counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_interp.ledger.json_file import versions
from pytest_interp.ledger.outcome import NOT_APPLICABLE, NOT_CHECKED, carried
from pytest_interp.measurement import quote
from pytest_interp.report.layout import SHORT, WIDTH, headed, short
from pytest_interp.report.mutants import falsified, remarks
from pytest_interp.report.noise import noise
from pytest_interp.text import line, wrapped

_ORDER = (
    "supported",
    "refuted",
    "inconclusive",
    "moved by precision",
    "snapshot differs",
    "no snapshot",
    "no teeth",
    "expected failure",
    "not applicable",
    "error",
)
WELL = ("supported", "expected failure", "not applicable")
"""What is no failure."""
_MARKUP: dict[str, dict[str, bool]] = {
    "supported": {"green": True},
    "refuted": {"red": True},
    "inconclusive": {"red": True},
    "moved by precision": {"red": True},
    "error": {"red": True},
}


@dataclass(frozen=True)
class Line:
    """A line of text and how the terminal shows it."""

    text: str
    markup: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What one claim came to."""

    checkpoint: str
    claim: str
    outcome: str
    records: tuple[dict[str, Any], ...]
    snapshot: str | None
    reason: str = ""
    remarks: tuple[str, ...] = ()
    cite: str = ""
    statement: str = ""
    prompts: tuple[tuple[str, tuple[str, ...], bool], ...] = ()


def summarise(reports: Iterable[Any], *, verbose: bool, unchecked: Iterable[Sequence[str]] = ()) -> list[Line]:
    """The lines of the table: a line for each checkpoint, each claim's numbers where verbose.

    Args:
        reports: of the tests that ran.
        verbose: whether each claim's numbers are shown.
        unchecked: checkpoint and reason of each claim that was deselected, since it cannot be checked here.
    """
    rows = [row for report in reports for row in outcome_of(report)]
    rows += [Row(checkpoint, "", "not checked", (), None, reason) for checkpoint, reason in unchecked]
    lines: list[Line] = []
    rows.sort(key=lambda row: row.outcome == "not checked")
    for checkpoint in dict.fromkeys(row.checkpoint for row in rows):
        mine = [row for row in rows if row.checkpoint == checkpoint]
        idle = [row for row in mine if row.outcome == "not checked"]
        if idle:
            lines += map(Line, headed(checkpoint, f"{len(idle)} not checked: {idle[0].reason}"))
            continue
        counts = Counter(row.outcome for row in mine)
        parts = [f"{counts[outcome]} {outcome}" for outcome in _ORDER if counts[outcome]]
        snapshots = Counter(row.snapshot for row in mine)
        parts += [f"{snapshots[s]} {s}" for s in ("new number", "other prompts", "updated") if snapshots[s]]
        prompts = Counter(other for row in mine for other in row.prompts)
        good = set(counts) <= set(WELL) and all(chosen for _, _, chosen in prompts)
        markup = {"green": good, "red": not good, "bold": True}
        lines += [Line(text, markup) for text in headed(checkpoint, ", ".join(parts))]
        if any(record["about"].get("passes_from") == "whole" for row in mine for record in row.records):
            said = "passes cannot start inside this model; whole ones gave the numbers, more slowly"
            lines += [Line(f"  {part}") for part in wrapped(f"{line(checkpoint, SHORT)}: {said}", WIDTH - 2)]
        lines += _other_prompts(prompts)
        for row in mine:
            if verbose or row.outcome not in ("supported", "not applicable"):
                lines += _detail(row)
        if not verbose:
            lines += _caveats(mine)
    return lines


def _other_prompts(prompts: Mapping[tuple[str, tuple[str, ...], bool], int]) -> list[Line]:
    """A line for each data set that is another one than in snapshots, for all claims that share it."""
    lines: list[Line] = []
    for (data, differs, chosen), count in prompts.items():
        text = f"{data}, {count} claim{'s' * (count != 1)} not compared: {'; '.join(differs)}"
        if not chosen:
            text += "; the run fails, `--snapshot-update` accepts them"
        lines += _titled("other prompts", text, {} if chosen else {"red": True})
    return lines


def run_again(reports: Iterable[Any], *, verbose: bool) -> dict[str, list[str]]:
    """What is said of claims that were run again, by section: on their mutants, and for their noise."""
    outcomes = outcomes_of(reports)
    return {"mutants": falsified(outcomes), "noise": noise(outcomes, verbose=verbose)}


def outcomes_of(reports: Iterable[Any]) -> list[dict[str, Any]]:
    """What each claim that was called left in its report; a rerun leaves another, which counts."""
    called = (report for report in reports if report.when == "call")
    return [values[-1] for report in called if (values := carried(report))]


def outcome_of(report: Any) -> Iterator[Row]:
    """The row of a claim, from the one report that has it."""
    outcomes = carried(report)
    # A claim has a row from its call, from a setup that did not lead to one, or from a teardown that went wrong; what
    # is run again has it from the last time.
    if not outcomes or (report.when != "call" and report.passed) or report.outcome == "rerun":
        return
    outcome = outcomes[-1]
    reason = (
        report.longrepr[2].removeprefix("Skipped: ") if report.skipped and isinstance(report.longrepr, tuple) else ""
    )
    kind, reason = _kind(report, outcome, reason)
    if kind == "not checked":
        reason = reason.removeprefix(NOT_CHECKED).partition(": ")[2]
    if kind != "skipped":
        name = report.nodeid.rpartition("::")[2]
        said = tuple(remarks(outcome))
        yield Row(
            outcome["checkpoint"], name, kind, tuple(outcome["records"]), outcome["snapshot"], reason, said,
            outcome["claim"]["cite"], outcome["claim"]["statement"],
            tuple((other["data"], tuple(other["differs"]), other["chosen"]) for other in outcome.get("prompts", ())),
        )  # fmt: skip


def _kind(report: Any, outcome: dict[str, Any], reason: str) -> tuple[str, str]:
    """How a report counts in the table, and why."""
    if hasattr(report, "wasxfail"):
        return ("expected failure", report.wasxfail) if report.skipped else ("error", "passed unexpectedly")
    if report.skipped:
        kinds = ((NOT_CHECKED, "not checked"), (NOT_APPLICABLE, "not applicable"), ("", "skipped"))
        return next(kind for prefix, kind in kinds if reason.startswith(prefix)), reason
    if report.passed or report.when != "call":
        return ("supported", "") if report.passed else ("error", f"in {report.when}")
    failing = [record["outcome"] for record in outcome["records"] if record["outcome"] != "supported"]
    if failing and outcome.get("float32", {}).get("moved"):
        return "moved by precision", ""
    if not failing and outcome.get("survived"):
        return "no teeth", outcome["survived"]
    snapshot = {"differs": "snapshot differs", "missing": "no snapshot"}.get(outcome["snapshot"], "error")
    return failing[-1] if failing else snapshot, ""


def _caveats(rows: Iterable[Row]) -> list[Line]:
    """What supported claims say less than they seem to: a control does the same, a member adds nothing."""
    lines: list[Line] = []
    for row in (row for row in rows if row.outcome == "supported"):
        caveats = [caveat for record in row.records for caveat in record["caveats"]]
        if not caveats:
            continue
        lines += _titled("supported, but", short(row.claim, row.checkpoint), {"yellow": True})
        for part in dict.fromkeys(caveats):
            lines += _below(part)
    return lines


def _detail(row: Row) -> list[Line]:
    markup = _MARKUP.get(row.outcome, {})
    status = f"  ({row.snapshot})" if row.snapshot in ("new number", "other prompts", "updated") else ""
    lines = _titled(row.outcome, f"{short(row.claim, row.checkpoint)}{status}", markup)
    for record in row.records:
        seen = f"{record['quantity']} {quote(record['value'])}"
        if record["interval"]:
            seen += f" [{quote(record['interval'][0])}, {quote(record['interval'][1])}]"
        lines += _below(f"{seen}, {record['bound']}")
        if record["controls"]:
            lines += _below(f"controls {'; '.join(record['controls_shown'])}")
        for caveat in (*record["caveats"], *record["notes"]):
            lines += _below(caveat)
        for key in (key for key in ("to paste", "worst") if key in record["details"]):
            lines += _below(f"{key}: {record['details'][key]}")
    if row.remarks:
        lines += _below(", ".join(row.remarks))
    if row.outcome in ("expected failure", "not applicable", "error", "no teeth") and row.reason:
        lines += _below(" ".join(row.reason.split()), "")
    return lines


def _titled(outcome: str, claim: str, markup: dict[str, bool]) -> list[Line]:
    """The line of a claim, and those that a long name goes on in."""
    return [Line(text, markup) for text in wrapped(claim, WIDTH, f"  {outcome:<16} ", f"{'':21}")]


def _below(text: object, further: str = "  ") -> list[Line]:
    """What stands below a claim's line."""
    return [Line(part) for part in wrapped(text, WIDTH, f"{'':19}", f"{'':19}{further}")]


def describe(statement: str | None, source: str, records: Iterable[dict[str, Any]]) -> str:
    """The section of a failing claim: its statement and source, and what each number was measured on."""
    parts = [f"statement  {statement or 'none'}", f"source     {source}"]
    for record in records:
        about = ", ".join(f"{key} {line(_plain(value))}" for key, value in record["about"].items())
        parts += [f"measured   {record['quantity']}: {about}"]
    parts.append(f"with       {', '.join(f'{name} {number}' for name, number in versions().items())}")
    lines = [text for part in parts for text in wrapped(part, WIDTH, rest=" " * 11, limit=2_000, hyphens=False)]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
