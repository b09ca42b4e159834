"""Drift of a circuit for a reader: capability, how alike both are, a line for each head; each number by its floor."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_interp.compare.circuit_drift import HeadShift, RoleDrift, Shift
from pytest_interp.compare.drift import Drift
from pytest_interp.report.comparison import cell
from pytest_interp.report.layout import WIDTH
from pytest_interp.report.terminal import Line
from pytest_interp.text import wrapped

BAD = ("lost", "fewer heads", "moved heads, same mechanism")
"""Words of roles that a terminal marks."""


def clauses(drift: Drift) -> list[str]:
    """Returns what the summing-up sentence says of the circuit: capability that is lost, roles that moved or are lost.

    Args:
        drift: of a checkpoint against its baseline.
    """
    circuit = drift.circuit
    if circuit is None:
        return []
    parts = [f"{name} does not do the task" for name in _incapable(drift)]
    for role in circuit.roles:
        if role.word == "moved heads, same mechanism":
            parts.append(f"{role.role} moved from {', '.join(role.lost)} to {', '.join(role.others)}")
        elif role.word in ("lost", "fewer heads"):
            parts.append(f"{role.role} lost {', '.join(role.lost) or 'its heads'}")
    return parts


def terminal(drift: Drift) -> list[Line]:
    """Returns the drift of the circuit for a terminal, capability first; no line without profiles.

    Args:
        drift: of a checkpoint against its baseline.

    Returns:
        Lines of at most 79 columns.
    """
    circuit = drift.circuit
    if circuit is None:
        return []
    whole = [*circuit.capability, *([] if circuit.transfer is None else [circuit.transfer])]
    lines = [Line(_row("", *HEADER)), *(Line(_row(shift.name, *numbers(shift))) for shift in whole)]
    for sentence in incapable(drift):
        lines += [Line(text, {"red": True}) for text in wrapped(sentence, WIDTH, "  ", "    ")]
    if circuit.likeness:
        lines.append(Line(f"  {'how alike':<40}{'now':>8}{'floor':>8}"))
    lines += [Line(f"  {other.name:<40}{number(other.value):>8}{number(other.floor):>8}") for other in circuit.likeness]
    for role in circuit.roles:
        lines += _role(role)
    for remark in circuit.remarks:
        lines += [Line(text) for text in wrapped(f"left out: {remark}", WIDTH, "  ", "    ")]
    return lines


HEADER = ("baseline", "now", "difference", "floor")
"""The columns of a number."""
MOST_HEADS = 6
"""Heads of a set that a terminal names; a larger set is counted."""


def _role(role: RoleDrift) -> list[Line]:
    """Returns the lines of a role: its word and rule, its heads, and the sets of heads that are found."""
    markup = {"yellow": True} if role.word in BAD else {}
    lines = [Line(text, markup) for text in wrapped(f"role {role.role}: {role.word}", WIDTH, "  ", "    ")]
    rule = f"score: {role.reads}; at least {role.bound:.2f}"
    lines += [Line(text) for text in wrapped(rule, WIDTH, "    ", "      ")]
    for head in role.heads:
        name = f"  {head.score.name:<7}rank {ranks(head)}"
        lines.append(Line(_row(name, *numbers(head.score))))
    shown = [", ".join(heads) if 0 < len(heads) <= MOST_HEADS else f"{len(heads)} heads" for heads in role.found]
    sets = shown[0] if role.found[0] == role.found[1] else f"{shown[0]} -> {shown[1]}"
    alike = f"found: {sets}; Jaccard {number(role.likeness.value)}, floor {number(role.likeness.floor)}"
    return [*lines, *(Line(text) for text in wrapped(alike, WIDTH, "    ", "      "))]


def _row(name: str, before: str, now: str, difference: str, floor: str) -> str:
    return f"  {name:<27}{before:>9}{now:>8}  {difference:<24}{floor:>7}"


def numbers(shift: Shift) -> tuple[str, str, str, str]:
    """Returns a number on both, the difference with its interval, and its floor.

    Args:
        shift: of a number.
    """
    ends = "" if shift.interval is None else f" [{_signed(shift.interval[0])}, {_signed(shift.interval[1])}]"
    difference = f"{_signed(shift.after - shift.before)}{ends}"
    return number(shift.before), number(shift.after), difference, number(shift.floor)


def _signed(value: float) -> str:
    return f"{value:+.{3 if abs(value) < 10 else 2}f}".replace("-0.000", "+0.000")


def number(value: float | None) -> str:
    """Returns a number with three decimals; a dash where there is none.

    Args:
        value: any number.
    """
    return "-" if value is None else f"{value + 0.0:.3f}".replace("-0.000", "0.000")


def ranks(head: HeadShift) -> str:
    """Returns the rank of a head on the baseline and now, and that on other prompts on the baseline.

    Args:
        head: of the baseline's circuit.
    """
    before, now, other = head.ranks
    return f"{before}>{now}" + ("" if other is None else f" ({other})")


def incapable(drift: Drift) -> list[str]:
    """Returns a sentence for each of the two that does not do the task.

    Args:
        drift: of a checkpoint against its baseline.
    """
    text = "does not do the task (its logit difference is not surely above 0): its heads say little"
    return [f"{name} {text}" for name in _incapable(drift)]


def _incapable(drift: Drift) -> list[str]:
    """Returns the names of those of the two that do not do the task."""
    names = drift.comparison.before.names[0], drift.comparison.after.names[0]
    capable = (True, True) if drift.circuit is None else drift.circuit.capable
    return [name for name, able in zip(names, capable, strict=True) if not able]


# ---- Markdown


def markdown(drift: Drift) -> list[str]:
    """Returns the drift of the circuit as lines of Markdown, each table after an empty line; empty without profiles.

    Args:
        drift: of a checkpoint against its baseline.
    """
    circuit = drift.circuit
    if circuit is None:
        return ["", f"Heads are not compared: {cell(drift.left_out)}."]
    whole = [*circuit.capability, *([] if circuit.transfer is None else [circuit.transfer])]
    lines = _table(["", *HEADER], [[shift.name, *numbers(shift)] for shift in whole])
    for sentence in incapable(drift):
        lines += ["", cell(sentence)]
    heads = [
        [role.role, head.score.name, *numbers(head.score), ranks(head)] for role in circuit.roles for head in role.heads
    ]
    lines += _table(["role", "head", *HEADER, "rank"], heads)
    rows = [[role.role, role.word, role.reads, f"{role.bound:.2f}", *_sets(role)] for role in circuit.roles]
    lines += _table(["role", "drift", "score", "bound", "found before", "found now", "Jaccard", "floor"], rows)
    alike = [[other.name, number(other.value), number(other.floor)] for other in circuit.likeness]
    lines += _table(["how alike", "now", "floor"], alike)
    return [*lines, *(line for remark in circuit.remarks for line in ("", f"Left out: {cell(remark)}."))]


def _sets(role: RoleDrift) -> list[str]:
    sets = [", ".join(heads) or "no head" for heads in role.found]
    return [*sets, number(role.likeness.value), number(role.likeness.floor)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns an empty line and a table; nothing without rows."""
    if not rows:
        return []
    return ["", *(f"| {' | '.join(map(cell, row))} |" for row in (header, ["---"] * len(header), *rows))]
