"""The table of noise: how far numbers moved under each condition, and the claims whose verdict it could change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.ledger.reruns import Movement
from pytest_interp.report.layout import WIDTH, headed, short
from pytest_interp.text import counted, cut, line, wrapped

_UNITS = ("logits", "probability", "share", "recovered", "nats")
Claim: TypeAlias = tuple[str, Sequence[Movement]]
"""A claim's short name, and the movements of its numbers."""


def noise(outcomes: Iterable[ClaimOutcome], *, verbose: bool = False) -> list[str]:
    """Returns the table of noise, by checkpoint.

    Args:
        outcomes: of the claims that were called.
        verbose: whether the movements of every number are shown too.

    Returns:
        Lines of at most 79 columns; none if no claim was measured again.
    """
    lines: list[str] = []
    for checkpoint, claims in measured_again(outcomes).items():
        lines += [*_table(noise_table(checkpoint, claims)), *(_numbers(claims) if verbose else ())]
    return lines


def measured_again(outcomes: Iterable[ClaimOutcome]) -> dict[str, list[Claim]]:
    """Returns the claims that were measured again, by checkpoint.

    Args:
        outcomes: of claims.
    """
    by_checkpoint: dict[str, list[Claim]] = {}
    for outcome in outcomes:
        if outcome.noise:
            claim = short(str(outcome.claim.name), str(outcome.checkpoint)), outcome.noise
            by_checkpoint.setdefault(str(outcome.checkpoint), []).append(claim)
    return by_checkpoint


def _numbers(claims: Sequence[Claim]) -> list[str]:
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


@dataclass(frozen=True)
class NoiseTable:
    """How far numbers of a checkpoint moved under conditions that should not matter.

    Attributes:
        checkpoint: its name.
        count: number of claims that were measured again.
        units: of the numbers.
        furthest: by condition the largest movement in each unit; None where no number has it.
        lists: claims by what noise could do to them: a margin within the float noise, a movement beyond the tolerance
            of the snapshot, no support with another seed or BOS choice.
    """

    checkpoint: str
    count: int
    units: tuple[str, ...]
    furthest: Mapping[str, tuple[float | None, ...]]
    lists: Mapping[str, tuple[str, ...]]


def noise_table(checkpoint: str, claims: Sequence[Claim]) -> NoiseTable:
    """Returns how far the numbers of a checkpoint moved.

    Args:
        checkpoint: its name.
        claims: name and movements of each claim.
    """
    moved = [(name, movement) for name, movements in claims for movement in movements]
    seen = {movement.unit for _, movement in moved}
    units = (*(unit for unit in _UNITS if unit in seen), *sorted(seen - set(_UNITS)))
    sizes: dict[str, dict[str, list[float]]] = {}  # by condition, then by unit
    for _, movement in moved:
        by_unit = sizes.setdefault(movement.condition, {})
        if movement.by is not None:
            by_unit.setdefault(movement.unit, []).append(abs(movement.by))
    floor = [(name, m, abs(m.by)) for name, m in moved if m.floor and m.by is not None]
    lists = {
        "margin within the floor": [f"{name} ({m.margin:.1e})" for name, m, step in floor if step >= m.margin],
        "moved beyond their snapshot's tolerance": [name for name, m, step in floor if step > m.tolerance],
    }
    for condition in dict.fromkeys(movement.condition for _, movement in moved if not movement.floor):
        lists[f"not supported with {condition}"] = [
            f"{name} ({m.outcome})"
            for name, m in moved
            if m.condition == condition and m.outcome not in ("supported", "survived")
        ]
    return NoiseTable(
        checkpoint,
        len(claims),
        units,
        {
            condition: tuple(max(by_unit[unit]) if unit in by_unit else None for unit in units)
            for condition, by_unit in sizes.items()
        },
        {title: tuple(dict.fromkeys(names)) for title, names in lists.items()},
    )


def _table(table: NoiseTable) -> list[str]:
    """Returns the lines of one checkpoint: the largest movement by condition and unit, then lists of claims."""
    units = table.units[:5]
    lines = headed(table.checkpoint, f"{counted(table.count, 'claim')}; the furthest that any number moved")
    lines.append(f"  {'':<16}" + "".join(f"{cut(line(unit), 11):>12}" for unit in units))
    for condition, sizes in table.furthest.items():
        row = ["." if size is None else f"{size:.1e}" for size in sizes[:5]]
        lines.append(f"  {cut(line(condition), 16):<16}" + "".join(f"{text:>12}" for text in row))
    for title, names in table.lists.items():
        lines += _listed(title, names)
    return lines


def _listed(title: str, claims: Sequence[str]) -> list[str]:
    """Returns a title, and a line for each claim below it."""
    lines = [f"  {title}: {'' if claims else 'none'}".rstrip()]
    for claim in claims:
        lines += wrapped(claim, WIDTH, "    ", "      ", hyphens=False)
    return lines
