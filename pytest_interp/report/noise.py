"""The table of noise: how far numbers moved under each condition, and which claims hang on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from pytest_interp.ledger.outcome import ClaimOutcome, Movement
from pytest_interp.report.layout import WIDTH, headed, short
from pytest_interp.text import cut, line, wrapped

_UNITS = ("logits", "probability", "share", "recovered", "nats")
_Claim: TypeAlias = tuple[str, Sequence[Movement]]
"""A claim's short name, and how far its numbers moved."""


def noise(outcomes: Iterable[ClaimOutcome], *, verbose: bool = False) -> list[str]:
    """Lines of at most 79 columns; none where nothing was measured again. ``verbose``: every number's movements too."""
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
    """Each claim's numbers: how far inside the bound, and how far each condition moved them."""
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
    moved = [(name, movement) for name, movements in claims for movement in movements]
    seen = {movement.unit for _, movement in moved}
    units = [*(unit for unit in _UNITS if unit in seen), *sorted(seen - set(_UNITS))][:5]
    lines = headed(checkpoint, f"{len(claims)} claims; the furthest that any number moved")
    lines.append(f"  {'':<16}" + "".join(f"{cut(line(unit), 11):>12}" for unit in units))
    for condition in dict.fromkeys(movement.condition for _, movement in moved):
        steps = [(m.unit, abs(m.by)) for _, m in moved if m.condition == condition and m.by is not None]
        row = [max((step for its_unit, step in steps if its_unit == unit), default=None) for unit in units]
        lines.append(
            f"  {cut(line(condition), 16):<16}" + "".join(f"{'.' if v is None else format(v, '.1e'):>12}" for v in row)
        )
    floor = [(name, m, abs(m.by)) for name, m in moved if m.floor and m.by is not None]
    hanging = [f"{name} ({m.margin:.1e})" for name, m, step in floor if step >= m.margin]
    lines += _listed("margin within the floor", hanging)
    lines += _listed("moved beyond their snapshot's tolerance", [name for name, m, step in floor if step > m.tolerance])
    for condition in dict.fromkeys(movement.condition for _, movement in moved if not movement.floor):
        other = [
            f"{name} ({m.outcome})"
            for name, m in moved
            if m.condition == condition and m.outcome not in ("supported", "survived")
        ]
        lines += _listed(f"not supported with {condition}", other)
    return lines


def _listed(what: str, claims: Sequence[str]) -> list[str]:
    lines = [f"  {what}: {'' if claims else 'none'}".rstrip()]
    for one in dict.fromkeys(claims):
        lines += wrapped(one, WIDTH, "    ", "      ", hyphens=False)
    return lines
