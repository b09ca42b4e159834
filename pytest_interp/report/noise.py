"""The table of noise: how far numbers moved under each condition, and the claims whose verdict it could change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.ledger.reruns import Movement
from pytest_interp.report.layout import WIDTH, headed, short
from pytest_interp.text import cut, line, wrapped

_UNITS = ("logits", "probability", "share", "recovered", "nats")
_Claim: TypeAlias = tuple[str, Sequence[Movement]]
"""A claim's short name, and the movements of its numbers."""


def noise(outcomes: Iterable[ClaimOutcome], *, verbose: bool = False) -> list[str]:
    """Returns the table of noise, by checkpoint.

    Args:
        outcomes: of the claims that were called.
        verbose: whether the movements of every number are shown too.

    Returns:
        Lines of at most 79 columns; none if no claim was measured again.
    """
    by_checkpoint: dict[str, list[_Claim]] = {}
    for outcome in outcomes:
        if outcome.noise:
            claim = short(str(outcome.claim.name), str(outcome.checkpoint)), outcome.noise
            by_checkpoint.setdefault(str(outcome.checkpoint), []).append(claim)
    lines: list[str] = []
    for checkpoint, claims in by_checkpoint.items():
        lines += [*_table(checkpoint, claims), *(_numbers(claims) if verbose else ())]
    return lines


def _numbers(claims: Sequence[_Claim]) -> list[str]:
    """Returns lines about each number of each claim: its margin, and its movement under each condition."""
    lines: list[str] = []
    for name, movements in claims:
        conditions = dict.fromkeys(movement.condition for movement in movements)
        by_condition = [[item for item in movements if item.condition == condition] for condition in conditions]
        for verdicts in zip(*by_condition, strict=False):
            first = verdicts[0]
            lines += wrapped(name, WIDTH, "  ", "    ")
            moved = [f"{item.condition} {'.' if item.by is None else format(item.by, '+.1e')}" for item in verdicts]
            text = f"{first.quantity}, margin {first.margin:.1e} {first.unit}: {', '.join(moved)}"
            lines += wrapped(text, WIDTH, "    ", "      ", hyphens=False)
    return lines


def _table(checkpoint: str, claims: Sequence[_Claim]) -> list[str]:
    """Returns the table of one checkpoint: the largest movement by condition and unit, then lists of claims.

    The lists are of claims whose margin is within the float noise, of those that moved beyond the tolerance of their
    snapshot, and of those that are not supported with another seed or BOS choice.
    """
    moved = [(name, movement) for name, movements in claims for movement in movements]
    seen = {movement.unit for _, movement in moved}
    units = [*(unit for unit in _UNITS if unit in seen), *sorted(seen - set(_UNITS))][:5]
    lines = headed(checkpoint, f"{len(claims)} claims; the furthest that any number moved")
    lines.append(f"  {'':<16}" + "".join(f"{cut(line(unit), 11):>12}" for unit in units))
    sizes: dict[str, dict[str, list[float]]] = {}  # by condition, then by unit
    for _, movement in moved:
        by_unit = sizes.setdefault(movement.condition, {})
        if movement.by is not None:
            by_unit.setdefault(movement.unit, []).append(abs(movement.by))
    for condition, by_unit in sizes.items():
        row = [f"{max(by_unit[unit]):.1e}" if unit in by_unit else "." for unit in units]
        lines.append(f"  {cut(line(condition), 16):<16}" + "".join(f"{text:>12}" for text in row))
    floor = [(name, m, abs(m.by)) for name, m in moved if m.floor and m.by is not None]
    hanging = [f"{name} ({m.margin:.1e})" for name, m, step in floor if step >= m.margin]
    lines += _listed("margin within the floor", hanging)
    lines += _listed("moved beyond their snapshot's tolerance", [name for name, m, step in floor if step > m.tolerance])
    for condition in dict.fromkeys(movement.condition for _, movement in moved if not movement.floor):
        failing = [
            f"{name} ({m.outcome})"
            for name, m in moved
            if m.condition == condition and m.outcome not in ("supported", "survived")
        ]
        lines += _listed(f"not supported with {condition}", failing)
    return lines


def _listed(title: str, claims: Sequence[str]) -> list[str]:
    """Returns a title, and a line for each claim below it, each once."""
    lines = [f"  {title}: {'' if claims else 'none'}".rstrip()]
    for claim in dict.fromkeys(claims):
        lines += wrapped(claim, WIDTH, "    ", "      ", hyphens=False)
    return lines
