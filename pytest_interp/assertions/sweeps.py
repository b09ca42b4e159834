"""Assertions about a sweep: one cell, the top of a ranking, a whole matrix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, Unpack

from pytest_interp.assertions.answer import conclude
from pytest_interp.assertions.demands import POSITIVE, PlainBoundArgs
from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, KVHead
from pytest_interp.measurement import Measurement, paired_difference, quote
from pytest_interp.table import Table, name_of, place, ranking
from pytest_interp.text import counted, shown
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import RANK, Outcome, Verdict, judge, require_defined
from pytest_interp.verdict.robustness import judge_all, judge_others


@checked
def assert_cell(table: Table[Any], cell: Any, **bound: Unpack[PlainBoundArgs]) -> Verdict:
    """Asserts one cell of a sweep, and shows of how many other cells the same is true.

    Args:
        table: what a sweep such as ``patch_effect_sweep`` or ``direct_logit_attribution_sweep`` returned.
        cell: a head (``"9.9"``) or a pair such as ``(9, "S2")``.
        **bound: in the table's unit.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> from pytest_interp.measure import direct_logit_attribution_sweep
        >>> table = direct_logit_attribution_sweep(experiment)
        >>> assert_cell(table, "3.0", at_least=5).outcome
        'supported'
    """
    __tracebackhide__ = True
    check_swept(table)
    accepted = Bound.of(**bound)
    key = table.key(cell)
    verdict = judge(table[key], accepted)
    other_cells = [effect for other, effect in table.items() if other != key]
    count = sum(accepted.accepts(effect.value) for effect in other_cells)
    details = {
        "specific": f"also true of {count} of {len(other_cells)} other cells, by value",
        **undefined_cells(table),
    }
    if 2 * count > len(other_cells):
        verdict = replace(verdict, caveats=(*verdict.caveats, f"unspecific: {details['specific']}"))
    subject = f"{table.quantity} of {name_of(key)} on {where_measured(table)}"
    return conclude(replace(verdict, details=details), subject, table=table)


@checked
def assert_top(
    table: Table[Any],
    cells: Any,
    *,
    among: int | None = None,
    most: Literal["positive", "negative", "absolute"] = "positive",
) -> Verdict:
    """Asserts that cells are the top of a ranking: all of the first ones, or each among the top ``among``.

    With ``among=k`` as many unclaimed cells may be in front as places are left over, whichever they are. So each
    claimed cell must surely be ahead of all the others, by the interval of their paired difference prompt by prompt.
    Which cells are in front is not known beforehand: with a cell tied for the last place there are ``left over + 1``
    cells, none of which may count as behind by chance, so the level is corrected for that number (Bonferroni).
    Without places left over all pairs must hold, and no level is corrected. Refuted where more cells than may be are
    surely in front of a claimed one (corrected for all pairs). Undefined cells take no part.

    Args:
        table: what a sweep returned.
        cells: one cell or several; in any order.
        among: how many places there are; by default as many as cells ("these are the top ones").
        most: by the largest values, the smallest (``negative``) or the largest in size (``absolute``).

    Raises:
        UsageError: no cells, a cell that is not there, or more cells than places.
        NotApplicable: a claimed cell is undefined.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> from pytest_interp.measure import direct_logit_attribution_sweep
        >>> table = direct_logit_attribution_sweep(experiment)
        >>> assert_top(table, ["3.0", "3.1", "3.2"]).outcome
        'supported'
    """
    __tracebackhide__ = True
    check_swept(table)
    claimed = [table.key(cell) for cell in _listed(cells)]
    if not claimed:
        raise UsageError("an empty list of cells was passed; name at least one")
    if len(set(claimed)) < len(claimed):
        raise UsageError(f"{', '.join(map(name_of, claimed))}: a cell is named twice; name each once")
    places = len(claimed) if among is None else among
    if not len(claimed) <= places < len(table):
        raise UsageError(
            f"{counted(len(claimed), 'cell')} cannot be among the top {places} of {len(table)}; "
            f"allowed: {len(claimed)} to {len(table) - 1}"
        )
    other_cells = [cell for cell in table if cell not in claimed]
    left_over = places - len(claimed)
    gaps = {cell: {other: _ahead(table[cell], table[other], most) for other in other_cells} for cell in claimed}
    (cell, other), verdict = _closest_pair(gaps, left_over)
    size = ranking(most)
    n_pairs = len(claimed) * len(other_cells)
    allowed = "all of which must hold" if not left_over else f"for each claimed cell all but {left_over} must hold"
    # A verdict's notes say how many prompts would settle its own pair; for a ranking that must be the closest pair.
    details = {
        "closest": f"{name_of(cell)} {quote(table[cell].value)}, {name_of(other)} {quote(table[other].value)}: "
        f"one of {n_pairs} pairs, {allowed}",
        "ranking": ", ".join(
            f"{name_of(cell)} {quote(table[cell].value)}"
            for cell in sorted(table, key=lambda cell: -size(table[cell].value))[: places + 2]
        ),
        **undefined_cells(table),
    }
    what = ", ".join(map(name_of, claimed))
    subject = f"{what} {'are' if len(claimed) > 1 else 'is'} "
    subject += f"{'the' if places == len(claimed) else 'among the'} top {places} by {table.quantity} ({most})"
    verdict = replace(verdict, details=details)
    if 2 * places > len(table):
        caveat = f"unspecific: {places} of {counted(len(table), 'cell')} are among the top {places}"
        verdict = replace(verdict, caveats=(*verdict.caveats, caveat))
    return conclude(verdict, f"{subject} on {where_measured(table)}", table=table)


@checked
def assert_every(table: Table[Any], **bound: Unpack[PlainBoundArgs]) -> Verdict:
    """Asserts that every cell of a sweep meets a bound, and names the worst: every template, every order of names.

    All of them must hold, so no level has to be corrected; refuted where one of them surely does not (corrected for
    their number, Bonferroni).

    Args:
        table: what a sweep returned, or ``by_part(experiment, measurement, "template")``.
        **bound: in the table's unit.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> from pytest_interp.measure import by_part, logit_diff
        >>> assert_every(by_part(experiment, logit_diff(experiment), "order"), at_least=8).outcome
        'supported'
    """
    __tracebackhide__ = True
    check_swept(table)
    accepted = Bound.of(**bound)
    verdicts = judge_all(table, accepted)
    worst = next(iter(verdicts))
    outcomes = [verdict.outcome for verdict in verdicts.values()]
    details = {
        "worst": f"{quote(table[worst].value)}: {place(worst)[0]}",
        "in all": f"{outcomes.count('supported')} of {len(table)} surely meet it, "
        f"{outcomes.count('refuted')} surely do not",
        **undefined_cells(table),
    }
    verdict = replace(verdicts[worst], details=details)
    subject = f"{table.quantity} of every {table.axes[0]} on {where_measured(table)}; the worst of them"
    return conclude(verdict, subject, table=table)


@checked
def assert_only(table: Table[Any], cells: Any, **bound: Unpack[PlainBoundArgs]) -> Verdict:
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

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> from pytest_interp.measure import direct_logit_attribution_sweep
        >>> table = direct_logit_attribution_sweep(experiment)
        >>> assert_only(table, ["3.0", "3.1", "3.2"], at_least=1).outcome
        'supported'
    """
    __tracebackhide__ = True
    check_swept(table)
    accepted = Bound.of(**bound)
    claimed = [table.key(cell) for cell in _listed(cells)]
    other_cells = [cell for cell in table if cell not in claimed]
    if not claimed or not other_cells:
        raise UsageError(
            f"{len(claimed)} of {counted(len(table), 'cell')} were named; name at least one, and leave one out"
        )
    claimed_verdicts = {cell: judge(table[cell], accepted) for cell in claimed}
    other_verdicts = dict(zip(other_cells, judge_others([table[cell] for cell in other_cells], accepted), strict=True))
    corrected = 1 - 0.05 / len(other_cells)
    intruders = [cell for cell in other_cells if judge(table[cell], accepted, level=corrected).outcome == "supported"]
    weakest = min(claimed, key=lambda cell: (RANK[claimed_verdicts[cell].outcome], accepted.slack(table[cell].value)))
    nearest_cell = max(
        other_cells, key=lambda cell: (other_verdicts[cell].outcome != "refuted", accepted.slack(table[cell].value))
    )
    deciding_verdict, outcome = claimed_verdicts[weakest], claimed_verdicts[weakest].outcome
    if outcome == "supported" and (intruders or other_verdicts[nearest_cell].outcome != "refuted"):
        deciding_verdict, outcome = other_verdicts[nearest_cell], "refuted" if intruders else "inconclusive"
        note = f"{name_of(nearest_cell)} {'meets the bound too' if intruders else 'is not surely outside the bound'}"
        deciding_verdict = replace(deciding_verdict, notes=(*deciding_verdict.notes, note))
    outside = sum(verdict.outcome == "refuted" for verdict in other_verdicts.values())
    details = {
        "others": f"{outside} of {len(other_cells)} surely outside, level "
        f"corrected for their number (Holm); nearest {name_of(nearest_cell)} {quote(table[nearest_cell].value)}",
        "named": ", ".join(f"{name_of(cell)} {quote(table[cell].value)}" for cell in claimed),
        **undefined_cells(table),
    }
    subject = f"{', '.join(map(name_of, claimed))} and no other by {table.quantity} on {where_measured(table)}"
    return conclude(replace(deciding_verdict, outcome=outcome, details=details), subject, table=table)


def _closest_pair(gaps: Mapping[Any, Mapping[Any, Measurement]], left_over: int) -> tuple[tuple[Any, Any], Verdict]:
    """The pair of cells that decides a ranking, and the verdict on the ranking.

    1. A claimed cell is *ahead* where its gap to another cell is surely above 0. The gaps to ``left_over`` other cells
       may fail, so its closest pair is the one after them, ordered by the lower ends of the intervals. The ranking is
       supported if the closest pairs of all claimed cells are.
    2. A claimed cell is *beaten* where its gaps to more than ``left_over`` other cells are surely not above 0. One such
       cell refutes the ranking.
    3. The pair that decides is the closest of the closest pairs; those of beaten cells where there are any.

    Args:
        gaps: for each claimed cell and each other cell, by how much it is ahead.
        left_over: how many other cells may be in front of a claimed one.

    Returns:
        The claimed and the other cell, and the verdict on their gap with the outcome of the ranking.
    """
    support_level, refutation_level = 1 - 0.05 / (left_over + 1), 1 - 0.05 / sum(map(len, gaps.values()))
    closest: dict[Any, tuple[Any, Verdict]] = {}
    beaten = []
    for cell, by_other in gaps.items():
        verdicts = {other: judge(gap, POSITIVE, level=support_level) for other, gap in by_other.items()}
        other = sorted(verdicts, key=lambda other: _lower_end(verdicts[other]))[left_over]
        closest[cell] = other, verdicts[other]
        behind = [gap for gap in by_other.values() if judge(gap, POSITIVE, level=refutation_level).outcome == "refuted"]
        if len(behind) > left_over:
            beaten.append(cell)
    if beaten:
        outcome: Outcome = "refuted"
        deciding = min(beaten, key=lambda cell: closest[cell][1].measurement.value)
    else:
        supported = all(verdict.outcome == "supported" for _, verdict in closest.values())
        outcome = "supported" if supported else "inconclusive"
        deciding = min(closest, key=lambda cell: _lower_end(closest[cell][1]))
    other, verdict = closest[deciding]
    return (deciding, other), replace(verdict, outcome=outcome)


def undefined_cells(table: Table[Any], count: int | None = None) -> dict[str, str]:
    """The line on cells whose intervention can change nothing.

    Args:
        table: what a sweep returned.
        count: how many such cells a claim leaves out; by default all that the table has.

    Returns:
        One detail for a verdict; none where there are no such cells.
    """
    left_out = len(table.undefined) if count is None else count
    return {"undefined": f"{counted(left_out, 'cell')}, where nothing could change, are left out"} if left_out else {}


def _ahead(cell: Measurement, other: Measurement, most: str) -> Measurement:
    """By how much one cell is ahead of another, prompt by prompt, on the prompts that both have.

    Raises:
        NotApplicable: there is no such prompt, or a ratio is undefined.
    """
    require_defined(cell)
    require_defined(other)
    flipped = {"positive": (1, 1), "negative": (-1, -1), "absolute": (_sign(cell.value), _sign(other.value))}[most]
    sides = [
        replace(side, unit="gap" if side.unit == "share" else side.unit, values=tuple(sign * v for v in side.values))
        for sign, side in zip(flipped, (cell, other), strict=True)
    ]
    gap = paired_difference(*sides)
    if gap is None:
        raise NotApplicable(f"two cells of {cell.quantity} were measured on different prompts: they have no order")
    return replace(gap, quantity=f"{cell.quantity}_gap")


def _sign(value: float) -> int:
    """The sign of a value; that of 0 is 1."""
    return 1 if value >= 0 else -1


def _lower_end(verdict: Verdict) -> float:
    """The value that a verdict is sure of from below: the lower end of its interval, or the value itself."""
    return verdict.measurement.value if verdict.interval is None else verdict.interval.low


def _listed(cells: Any) -> Iterable[Any]:
    """One cell or several: a pair such as ``(9, "S2")`` is one, as is a head."""
    if isinstance(cells, str | Head | KVHead) or (isinstance(cells, tuple) and cells and isinstance(cells[0], int)):
        return [cells]
    if not isinstance(cells, Collection) or isinstance(cells, bytes) or getattr(cells, "ndim", 1) == 0:
        raise UsageError(f"cells is {shown(cells)}; pass a cell such as '9.9' or (9, 'S2'), or a list of them")
    return list(cells)


def check_swept(table: Any) -> None:
    """Refuses what is not the table of a sweep.

    Args:
        table: what was passed to an assertion.

    Raises:
        UsageError: it is no table; an estimate is none either.
    """
    if not isinstance(table, Table):
        raise UsageError(
            f"a {type(table).__name__} was passed; pass the Table that a sweep returned. An estimate (a Screen) says "
            "where to look and is no evidence: measure what it finds"
        )


def where_measured(table: Table[Any]) -> str:
    """The checkpoint and the data set of a table.

    Args:
        table: what a sweep returned.

    Returns:
        Their names, for a reader.
    """
    return next(iter(table.values())).context.place
