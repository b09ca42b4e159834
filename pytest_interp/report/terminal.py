"""The closing table of a run, for a terminal of 80 columns.

All of it comes from the tests' reports, so that it is the same under pytest-xdist. Only *supported* counts as support;
not applicable, not checked and errors are counted apart.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pytest_interp.ledger.json_file import versions
from pytest_interp.ledger.outcome import (
    NO_CIRCUIT,
    NO_FAILURE,
    NOT_APPLICABLE,
    ClaimOutcome,
    Finding,
    OtherPrompts,
    SnapshotStatus,
)
from pytest_interp.ledger.record import Record
from pytest_interp.measurement import quote
from pytest_interp.report.layout import SHORT, WIDTH, headed, short
from pytest_interp.report.mutants import falsified, remarks
from pytest_interp.report.noise import noise
from pytest_interp.report.published import to_paste
from pytest_interp.text import columns as columns_of
from pytest_interp.text import counted, cut, line, wrapped

_ORDER: tuple[Finding, ...] = tuple(finding for finding in get_args(Finding) if finding != "not checked")
_COLUMN = 12
"""Characters of the widest head of a column, and of the narrowest column of names."""
_SHOWN_STATUS: tuple[SnapshotStatus, ...] = ("new number", "other prompts", "updated")
_MARKUP: dict[Finding, dict[str, bool]] = {
    "supported": {"green": True},
    "refuted": {"red": True},
    "inconclusive": {"red": True},
    "moved by precision": {"red": True},
    "error": {"red": True},
}


@dataclass(frozen=True)
class Line:
    """A line of text, and its colours and weight as pytest's terminal writer takes them."""

    text: str
    markup: dict[str, bool] = field(default_factory=dict)


def summarise(
    outcomes: Iterable[ClaimOutcome], *, verbose: bool, unchecked: Iterable[Sequence[str]] = ()
) -> list[Line]:
    """Returns the lines of the table: counts for each checkpoint, and details of claims.

    Args:
        outcomes: of the claims that ran.
        verbose: whether details of every claim are shown, and not only of those that are not supported.
        unchecked: checkpoint and reason of each claim that was deselected, since it cannot be checked here.

    Returns:
        Lines of at most 79 columns; none without claims.
    """
    judged: dict[str, list[ClaimOutcome]] = {}
    idle: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.finding == "not checked":
            idle.setdefault(str(outcome.checkpoint), []).append(outcome.explanation)
        elif outcome.finding is not None:
            judged.setdefault(str(outcome.checkpoint), []).append(outcome)
    for checkpoint, reason in unchecked:
        idle.setdefault(checkpoint, []).append(reason)
    overview = _overview(judged)
    lines = [*overview]
    for checkpoint, claims in judged.items():
        details = _details(checkpoint, claims, verbose=verbose)
        if details or not overview:
            lines += [*_heading(checkpoint, claims), *details]
    return [*lines, *map(Line, _unchecked(idle))]


def _overview(judged: Mapping[str, Sequence[ClaimOutcome]]) -> list[Line]:
    """Returns a table of counts: a row for each checkpoint, a column for each finding and status that occurs.

    Args:
        judged: the claims of each checkpoint.

    Returns:
        Lines of at most 79 columns; none for a single checkpoint, or where there are too many columns.
    """
    counts = {checkpoint: _counts(claims) for checkpoint, claims in judged.items()}
    columns = [name for name in (*_ORDER, *_SHOWN_STATUS) if any(count[name] for count in counts.values())]
    heads = [textwrap.wrap(name, _COLUMN) for name in columns]
    widths = [max(map(len, head)) + 2 for head in heads]
    left = WIDTH - sum(widths)
    if len(judged) < 2 or left < _COLUMN:
        return []
    first = min(left, max(columns_of(line(checkpoint)) for checkpoint in judged))
    height = max(map(len, heads))
    lines = [
        Line(" " * first + "".join(f"{part:>{width}}" for part, width in zip(row, widths, strict=True)))
        for row in zip(*([""] * (height - len(head)) + head for head in heads), strict=True)
    ]
    for checkpoint, count in counts.items():
        cells = "".join(f"{count[name] or '.':>{width}}" for name, width in zip(columns, widths, strict=True))
        name = cut(line(checkpoint), first)
        lines.append(Line(name + " " * (first - columns_of(name)) + cells, _colour(judged[checkpoint])))
    return lines


def _counts(claims: Iterable[ClaimOutcome]) -> Counter[str]:
    """Returns how many claims have each finding, and each status of their snapshot that is shown."""
    claims = list(claims)
    return Counter([str(claim.finding) for claim in claims]) + Counter(
        [claim.snapshot for claim in claims if claim.snapshot in _SHOWN_STATUS]
    )


def _colour(claims: Iterable[ClaimOutcome]) -> dict[str, bool]:
    """Returns the colour of a checkpoint's line: green where nothing fails the run."""
    good = all(claim.finding in NO_FAILURE and all(other.chosen for other in claim.prompts or ()) for claim in claims)
    return {"green": good, "red": not good, "bold": True}


def _unchecked(idle: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns a line for each checkpoint that was not checked; one for all that have the same reason.

    Args:
        idle: by checkpoint the reason of each of its claims.
    """
    by_reason: dict[str, dict[str, int]] = {}
    for checkpoint, reasons in idle.items():
        by_reason.setdefault(reasons[0].replace(checkpoint, "NAME"), {})[checkpoint] = len(reasons)
    lines = []
    for reason, counts in by_reason.items():
        if len(counts) == 1:
            ((checkpoint, count),) = counts.items()
            lines += headed(checkpoint, f"{count} not checked: {idle[checkpoint][0]}")
        else:
            names = ", ".join(f"{line(checkpoint, SHORT)} {count}" for checkpoint, count in counts.items())
            lines += headed(f"{len(counts)} checkpoints", f"{sum(counts.values())} not checked: {reason}: {names}")
    return lines


def _heading(checkpoint: str, claims: Sequence[ClaimOutcome]) -> list[Line]:
    """Returns the name of a checkpoint and its counts."""
    counts = _counts(claims)
    parts = [f"{counts[name]} {name}" for name in (*_ORDER, *_SHOWN_STATUS) if counts[name]]
    return [Line(text, _colour(claims)) for text in headed(checkpoint, ", ".join(parts))]


def _details(checkpoint: str, claims: Sequence[ClaimOutcome], *, verbose: bool) -> list[Line]:
    """Returns what needs attention at one checkpoint: data sets that were not compared, claims, caveats."""
    lines: list[Line] = []
    if any(record.context.extra.get("passes_from") == "whole" for claim in claims for record in claim.records):
        remark = "passes cannot start inside this model; whole ones gave the numbers, more slowly"
        lines += [Line(f"  {part}") for part in wrapped(f"{line(checkpoint, SHORT)}: {remark}", WIDTH - 2)]
    lines += _other_prompts(Counter(other for claim in claims for other in claim.prompts or ()))
    for claim in claims:
        if verbose or claim.finding not in ("supported", "not applicable"):
            lines += _detail(claim)
    return lines if verbose else lines + _without_circuit(claims) + _caveats(claims)


def _without_circuit(claims: Iterable[ClaimOutcome]) -> list[Line]:
    """Returns lines about the claims that need the heads of a circuit file, where there is none; none else."""
    reasons = Counter(claim.explanation for claim in claims if claim.finding == "not applicable")
    lines: list[Line] = []
    for reason, count in reasons.items():
        if NO_CIRCUIT in reason:
            lines += _titled("not applicable", counted(count, "claim"), {})
            lines += _below(reason.removeprefix(NOT_APPLICABLE), "")
    return lines


def _other_prompts(prompts: Mapping[OtherPrompts, int]) -> list[Line]:
    """Returns lines about each data set that is not the one of the snapshots, once for all claims that share it."""
    lines: list[Line] = []
    for other, count in prompts.items():
        text = f"{other.data}, {counted(count, 'claim')} not compared: {'; '.join(other.differs)}"
        if not other.chosen:
            text += "; the run fails, `--snapshot-update` accepts them"
        lines += _titled("other prompts", text, {} if other.chosen else {"red": True})
    return lines


def left_snapshots(outcomes: Iterable[ClaimOutcome]) -> list[str]:
    """Returns all numbers that left their snapshot in one table, by what the snapshots were taken with.

    Args:
        outcomes: of the claims that ran.

    Returns:
        Lines of at most 79 columns; none where all numbers stayed.
    """
    by_versions: dict[str, list[ClaimOutcome]] = {}
    for outcome in outcomes:
        if outcome.left is not None:
            by_versions.setdefault(outcome.left.taken_with, []).append(outcome)
    lines: list[str] = []
    for taken_with, claims in by_versions.items():
        lines += wrapped(f"taken with {taken_with}", WIDTH, rest="  ")
        for claim in claims:
            lines += wrapped(str(claim.claim.cite), WIDTH, "  ", "    ")
            for text in claim.left.lines if claim.left else ():
                lines += wrapped(text, WIDTH, "    ", "      ")
    if lines:
        now = ", ".join(f"{name} {number}" for name, number in versions().items())
        lines += [*wrapped(f"now {now}", WIDTH, rest="  "), "`--snapshot-update` accepts them as measured now"]
    return lines


def closing_sections(outcomes: Sequence[ClaimOutcome], *, verbose: bool) -> dict[str, list[str]]:
    """Returns the sections after the table of findings, by title.

    Args:
        outcomes: of the claims that ran.
        verbose: whether the movements of every number are shown.

    Returns:
        The lines of each, at most 79 columns but for the line to paste; no lines for one that there is nothing to say
        in, such as ``mutants`` and ``noise`` where they were not asked for.
    """
    called = [outcome for outcome in outcomes if outcome.when == "call"]
    return {
        "numbers that left their snapshot": left_snapshots(called),
        "published figures, to paste into an issue": to_paste(outcomes),
        "mutants": falsified(called),
        "noise": noise(called, verbose=verbose),
    }


def _caveats(claims: Iterable[ClaimOutcome]) -> list[Line]:
    """Returns lines about supported claims with a caveat: a control does as much, a member adds nothing."""
    lines: list[Line] = []
    for claim in (claim for claim in claims if claim.finding == "supported"):
        caveats = [caveat for record in claim.records for caveat in record.caveats]
        if not caveats:
            continue
        lines += _titled("supported, but", _name(claim), {"yellow": True})
        for caveat in dict.fromkeys(caveats):
            lines += _below(caveat)
    return lines


def _detail(claim: ClaimOutcome) -> list[Line]:
    """Returns the lines of one claim: its finding, and each number with bound, controls, caveats and worst prompts."""
    status = f"  ({claim.snapshot})" if claim.snapshot in _SHOWN_STATUS else ""
    lines = _titled(str(claim.finding), f"{_name(claim)}{status}", _MARKUP.get(claim.finding or "error", {}))
    for record in claim.records:
        run = record.context.run or "clean"
        measured = f"{record.quantity}{'' if run == 'clean' else f' of run {run}'} {quote(record.value)}"
        if record.interval:
            measured += f" [{quote(record.interval[0])}, {quote(record.interval[1])}]"
        lines += _below(f"{measured}, {record.bound}")
        if record.controls:
            lines += _below(f"controls {'; '.join(record.controls_shown)}")
        for caveat in (*record.caveats, *record.notes):
            lines += _below(caveat)
        for key in (key for key in ("to paste", "worst") if key in record.details):
            lines += _below(f"{key}: {record.details[key]}")
    if texts := remarks(claim):
        lines += _below(", ".join(texts))
    if claim.finding in ("expected failure", "not applicable", "error", "no teeth") and claim.explanation:
        lines += _below(" ".join(claim.explanation.split()), "")
    return lines


def _name(claim: ClaimOutcome) -> str:
    """Returns the name of a claim without its checkpoint."""
    return short(str(claim.claim.name), str(claim.checkpoint))


def _titled(finding: str, claim: str, markup: dict[str, bool]) -> list[Line]:
    """Returns a finding and a claim in two columns; a long name is wrapped within its column."""
    return [Line(text, markup) for text in wrapped(claim, WIDTH, f"  {finding:<16} ", f"{'':21}")]


def _below(text: object, further: str = "  ") -> list[Line]:
    """Returns a text below a claim's line, in the column of names."""
    return [Line(part) for part in wrapped(text, WIDTH, f"{'':19}", f"{'':19}{further}")]


def describe(statement: str | None, source: str, records: Iterable[Record]) -> str:
    """Returns the report's section ``claim``, which pytest shows below a failing claim.

    Args:
        statement: of the claim; None or empty without a docstring.
        source: the paper and section.
        records: of its verdicts.

    Returns:
        Statement, source, what each number was measured on, and the versions, in lines of at most 79 columns.
    """
    parts = [f"statement  {statement or 'none'}", f"source     {source}"]
    for record in records:
        context = ", ".join(f"{key} {line(_plain(value))}" for key, value in record.context.to_json().items())
        parts += [f"measured   {record.quantity}: {context}"]
    parts.append(f"with       {', '.join(f'{name} {number}' for name, number in versions().items())}")
    lines = [text for part in parts for text in wrapped(part, WIDTH, rest=" " * 11, limit=2_000, hyphens=False)]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    """Returns a value as text; the items of a list with blanks between them."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
