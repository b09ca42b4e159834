"""Assertions about a sweep: one cell, the top of a ranking, a whole matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import fsum
from typing import Any, Literal, Unpack

from pytest_interp.assertions._core import POSITIVE, RANK, BoundArgs, conclude
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, KVHead
from pytest_interp.measurement import Measurement, quote
from pytest_interp.table import Table, name_of, place, ranking
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import Outcome, Verdict, judge
from pytest_interp.verdict.robustness import judge_others


def assert_cell(table: Table[Any], cell: Any, **bound: Unpack[BoundArgs]) -> Verdict:
    """Asserts one cell of a sweep, and shows of how many other cells the same is true.

    Args:
        table: what a sweep such as ``patch_sweep`` or ``head_attributions`` returned.
        cell: a head (``"9.9"``) or a pair such as ``(9, "S2")``.
        **bound: in the table's unit.
    """
    __tracebackhide__ = True
    _check_swept(table)
    accepted = Bound.of(**bound)
    key = table.key(cell)
    verdict = judge(table[key], accepted)
    others = [one for other, one in table.items() if other != key]
    also = sum(accepted.accepts(one.value) for one in others)
    details = {"specific": f"also true of {also} of {len(others)} other cells, by value"}
    return conclude(replace(verdict, details=details), f"{table.quantity} of {name_of(key)} on {_where(table)}")


def assert_top(
    table: Table[Any],
    cells: Any,
    *,
    among: int | None = None,
    most: Literal["positive", "negative", "absolute"] = "positive",
) -> Verdict:
    """Asserts that cells are the top of a ranking: all of the first ones, or each among the top ``among``.

    Every claimed cell must surely be ahead of every cell that has to be behind it, by the interval of their paired
    difference prompt by prompt; since all of them must hold, no level has to be corrected. Refuted where one of the
    pairs is surely the other way round (corrected for their number, Bonferroni). Which cells may be in front under
    ``among`` is decided by value.

    Args:
        table: what a sweep returned.
        cells: one cell or several; in any order.
        among: how many places there are; by default as many as cells ("these are the top ones").
        most: by the largest values, the smallest (``negative``) or the largest in size (``absolute``).

    Raises:
        UsageError: no cells, a cell that is not there, or more cells than places.
    """
    __tracebackhide__ = True
    _check_swept(table)
    claimed = [table.key(cell) for cell in _listed(cells)]
    if not claimed:
        raise UsageError("an empty list of cells was passed; name at least one")
    places = len(claimed) if among is None else among
    if not len(claimed) <= places < len(table):
        raise UsageError(
            f"{len(claimed)} cells cannot be among the top {places} of {len(table)}; "
            f"allowed: {len(claimed)} to {len(table) - 1}"
        )
    size = ranking(most)
    rest = sorted((cell for cell in table if cell not in claimed), key=lambda cell: -size(table[cell].value))
    behind = rest[places - len(claimed) :]
    pairs = [(one, other) for one in claimed for other in behind]
    verdicts = {pair: judge(_ahead(table[pair[0]], table[pair[1]], most), POSITIVE) for pair in pairs}
    worst = min(verdicts, key=lambda pair: _lower_end(verdicts[pair]))
    level = 1 - 0.05 / len(pairs)
    reversed_pairs = [p for p in pairs if verdicts[p].outcome == "refuted"
                      and judge(verdicts[p].measurement, POSITIVE, level=level).outcome == "refuted"]  # fmt: skip
    outcome: Outcome = "inconclusive"
    if reversed_pairs:
        outcome, worst = "refuted", min(reversed_pairs, key=lambda pair: verdicts[pair].measurement.value)
    elif all(verdict.outcome == "supported" for verdict in verdicts.values()):
        outcome = "supported"
    shown = verdicts[worst]
    # The notes of an interval speak of one pair; what would settle a ranking is its closest pair.
    details = {
        "closest": f"{name_of(worst[0])} {quote(table[worst[0]].value)}, {name_of(worst[1])} "
        f"{quote(table[worst[1]].value)}: one of {len(pairs)} pairs, all of which must hold",
        "ranking": ", ".join(f"{name_of(cell)} {quote(one.value)}" for cell, one in table.top(places + 2, most=most)),
    }
    what = ", ".join(map(name_of, claimed))
    subject = f"{what} {'are' if len(claimed) > 1 else 'is'} "
    subject += f"{'the' if places == len(claimed) else 'among the'} top {places} by {table.quantity} ({most})"
    verdict = replace(shown, outcome=outcome, details=details)
    return conclude(verdict, f"{subject} on {_where(table)}")


def assert_every(table: Table[Any], **bound: Unpack[BoundArgs]) -> Verdict:
    """Asserts that every cell of a sweep meets a bound, and names the worst: every template, every order of names.

    All of them must hold, so no level has to be corrected; refuted where one of them surely does not (corrected for
    their number, Bonferroni).

    Args:
        table: what a sweep returned, or ``by_part(experiment, measurement, "template")``.
        **bound: in the table's unit.
    """
    __tracebackhide__ = True
    _check_swept(table)
    accepted = Bound.of(**bound)
    verdicts = {cell: judge(one, accepted) for cell, one in table.items()}
    level = 1 - 0.05 / len(table)
    surely = [cell for cell, one in table.items() if judge(one, accepted, level=level).outcome == "refuted"]
    doubtful = [cell for cell, verdict in verdicts.items() if verdict.outcome != "supported"]
    ranked = sorted(
        table, key=lambda cell: (cell not in surely, cell not in doubtful, accepted.slack(table[cell].value))
    )
    outcome: Outcome = "refuted" if surely else "inconclusive" if doubtful else "supported"
    details = {
        "worst": f"{quote(table[ranked[0]].value)}: {place(ranked[0])[0]}",
        "in all": f"{len(table) - len(doubtful)} of {len(table)} surely meet it, {len(surely)} surely do not",
    }
    verdict = replace(verdicts[ranked[0]], outcome=outcome, details=details)
    return conclude(verdict, f"{table.quantity} of every {table.axes[0]} on {_where(table)}; the worst of them")


def assert_only(table: Table[Any], cells: Any, **bound: Unpack[BoundArgs]) -> Verdict:
    """Asserts that these cells, and no other of the sweep, meet a bound: a claim of absence with its positive.

    Each named cell must be supported; since all of them must hold, no level has to be corrected. Every other cell must
    be refuted, at levels corrected for their number (Holm), so that all of them together are wrong in one case of
    twenty at most. Refuted where a named cell is, or where another cell meets the bound (corrected for their number).

    Args:
        table: what a sweep returned.
        cells: one cell or several, in any order.
        **bound: in the table's unit.

    Raises:
        UsageError: no cells, a cell that is not there, or all there are.
    """
    __tracebackhide__ = True
    _check_swept(table)
    accepted = Bound.of(**bound)
    claimed = [table.key(cell) for cell in _listed(cells)]
    others = [cell for cell in table if cell not in claimed]
    if not claimed or not others:
        raise UsageError(f"{len(claimed)} of {len(table)} cells were named; name at least one, and leave one out")
    mine = {cell: judge(table[cell], accepted) for cell in claimed}
    rest = dict(zip(others, judge_others([table[cell] for cell in others], accepted), strict=True))
    corrected = 1 - 0.05 / len(others)
    intruders = [cell for cell in others if judge(table[cell], accepted, level=corrected).outcome == "supported"]
    weakest = min(claimed, key=lambda cell: (RANK[mine[cell].outcome], accepted.slack(table[cell].value)))
    doubtful = max(others, key=lambda cell: (rest[cell].outcome != "refuted", accepted.slack(table[cell].value)))
    shown, outcome = mine[weakest], mine[weakest].outcome
    if outcome == "supported" and (intruders or rest[doubtful].outcome != "refuted"):
        shown, outcome = rest[doubtful], "refuted" if intruders else "inconclusive"
        also = f"{name_of(doubtful)} {'meets the bound too' if intruders else 'is not surely outside the bound'}"
        shown = replace(shown, notes=(*shown.notes, also))
    details = {
        "others": f"{sum(v.outcome == 'refuted' for v in rest.values())} of {len(others)} surely outside, level "
        f"corrected for their number (Holm); nearest {name_of(doubtful)} {quote(table[doubtful].value)}",
        "named": ", ".join(f"{name_of(cell)} {quote(table[cell].value)}" for cell in claimed),
    }
    subject = f"{', '.join(map(name_of, claimed))} and no other by {table.quantity} on {_where(table)}"
    return conclude(replace(shown, outcome=outcome, details=details), subject)


def assert_matrix(
    table: Table[Any], expected: Mapping[Any, float] | Sequence[Sequence[float | None]], *, within: float
) -> Verdict:
    """Asserts that every cell is within a tolerance of an expected matrix; names the worst cells.

    Args:
        table: what a sweep returned.
        expected: a number for each cell, or rows of numbers in the table's order; None where there is none.
        within: the largest difference that is accepted, in the table's unit.

    Raises:
        UsageError: rows or columns of another number, or a cell that the table does not have.
    """
    __tracebackhide__ = True
    _check_swept(table)
    accepted = Bound.of(at_most=within)
    wanted = _expected(table, expected)
    differences = {cell: table[cell].value - number for cell, number in wanted.items()}
    ranked = sorted(differences, key=lambda cell: -abs(differences[cell]))
    first = table[ranked[0]]
    measurement = Measurement(
        quantity=f"{first.quantity}_difference",
        unit=first.unit,
        values=(abs(differences[ranked[0]]),),
        labels=(f"{name_of(ranked[0])}",),
        clusters=("matrix",),
        population="fixed",
        tolerance=first.tolerance,
        about={**first.about, "heads": [], "cells": len(wanted), "each": "cell"},
    )
    details = {
        "worst cells": "; ".join(
            f"{name_of(cell)} {quote(table[cell].value)} for {quote(wanted[cell])}" for cell in ranked[:4]
        ),
        "mean size": quote(fsum(abs(value) for value in differences.values()) / len(differences)),
    }
    verdict = replace(judge(measurement, accepted), details=details)
    return conclude(verdict, f"largest difference of {len(wanted)} cells of {first.quantity} on {_where(table)}")


def _expected(table: Table[Any], expected: Any) -> dict[Any, float]:
    if isinstance(expected, Mapping):
        wanted = {table.key(cell): float(number) for cell, number in expected.items()}
    else:
        rows, columns = table.rows, table.columns
        if len(expected) != len(rows) or any(len(row) != len(columns) for row in expected):
            raise UsageError(
                f"the expected matrix has {len(expected)} rows of {sorted({len(row) for row in expected})} numbers; "
                f"the table of {table.quantity} has {len(rows)} rows ({table.axes[0]}) of {len(columns)} "
                f"({table.axes[1]})"
            )
        at = {place(cell): cell for cell in table}
        wanted = {
            at[row, column]: float(number)
            for row, numbers in zip(rows, expected, strict=True)
            for column, number in zip(columns, numbers, strict=True)
            if number is not None and (row, column) in at
        }
    if not wanted:
        raise UsageError("the expected matrix has no numbers; pass at least one")
    return wanted


def _ahead(one: Measurement, other: Measurement, most: str) -> Measurement:
    """By how much one cell is ahead of another, prompt by prompt; a ratio keeps its denominators."""
    signs = {"positive": (1, 1), "negative": (-1, -1), "absolute": (_sign(one.value), _sign(other.value))}[most]
    values = tuple(signs[0] * a - signs[1] * b for a, b in zip(one.values, other.values, strict=True))
    return replace(
        one,
        quantity=f"{one.quantity}_gap",
        unit="gap" if one.unit == "share" else one.unit,
        values=values,
        tolerance=one.tolerance + other.tolerance,
    )


def _sign(value: float) -> int:
    return 1 if value >= 0 else -1


def _lower_end(verdict: Verdict) -> float:
    return verdict.measurement.value if verdict.interval is None else verdict.interval.low


def _listed(cells: Any) -> Iterable[Any]:
    """One cell or several: a pair such as ``(9, "S2")`` is one, as is a head."""
    if isinstance(cells, str | Head | KVHead) or (isinstance(cells, tuple) and cells and isinstance(cells[0], int)):
        return [cells]
    return list(cells)


def _check_swept(table: Any) -> None:
    if not isinstance(table, Table):
        raise UsageError(
            f"a {type(table).__name__} was passed; pass the Table that a sweep returned. An estimate (a Screen) says "
            "where to look and is no evidence: measure what it finds"
        )


def _where(table: Table[Any]) -> str:
    about = next(iter(table.values())).about
    return ", ".join(str(about[key]) for key in ("checkpoint", "data") if key in about)
