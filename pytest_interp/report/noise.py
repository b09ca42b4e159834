"""The table of noise: how far numbers moved under each condition, and which claims hang on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_interp.report.layout import WIDTH, headed, short
from pytest_interp.text import cut, line, wrapped

_UNITS = ("logits", "probability", "share", "recovered", "nats")


def noise(outcomes: Iterable[Mapping[str, Any]], *, verbose: bool = False) -> list[str]:
    """Lines of at most 79 columns; none where nothing was measured again. ``verbose``: every number's movements too."""
    tried = [outcome for outcome in outcomes if outcome.get("noise")]
    lines: list[str] = []
    for checkpoint in dict.fromkeys(str(outcome["checkpoint"]) for outcome in tried):
        mine = [outcome for outcome in tried if outcome["checkpoint"] == checkpoint]
        lines += [*_table(checkpoint, mine), *(_each(mine) if verbose else ())]
    return lines


def _each(outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each claim's numbers: how far inside the bound, and how far each condition moved them."""
    lines: list[str] = []
    for outcome in outcomes:
        names = list(dict.fromkeys(one["condition"] for one in outcome["noise"]))
        by_condition = [[one for one in outcome["noise"] if one["condition"] == name] for name in names]
        for verdicts in zip(*by_condition, strict=False):
            first = verdicts[0]
            lines += wrapped(_name(outcome), WIDTH, "  ", "    ")
            moved = [
                f"{one['condition']} {'.' if one['by'] is None else format(one['by'], '+.1e')}" for one in verdicts
            ]
            text = f"{first['quantity']}, margin {first['margin']:.1e} {first['unit']}: {', '.join(moved)}"
            lines += wrapped(text, WIDTH, "    ", "      ", hyphens=False)
    return lines


def _table(checkpoint: str, outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
    moved = [{**one, "claim": _name(outcome)} for outcome in outcomes for one in outcome["noise"]]
    seen = {one["unit"] for one in moved}
    units = [*(unit for unit in _UNITS if unit in seen), *sorted(seen - set(_UNITS))][:5]
    lines = headed(checkpoint, f"{len(outcomes)} claims; the furthest that any number moved")
    lines.append(f"  {'':<16}" + "".join(f"{cut(line(unit), 11):>12}" for unit in units))
    for condition in dict.fromkeys(one["condition"] for one in moved):
        mine = [one for one in moved if one["condition"] == condition and one["by"] is not None]
        row = [max((abs(one["by"]) for one in mine if one["unit"] == unit), default=None) for unit in units]
        lines.append(
            f"  {cut(line(condition), 16):<16}" + "".join(f"{'.' if v is None else format(v, '.1e'):>12}" for v in row)
        )
    floor = [one for one in moved if one["floor"] and one["by"] is not None]
    hanging = [one for one in floor if abs(one["by"]) >= one["margin"]]
    beyond = [one for one in floor if abs(one["by"]) > one["tolerance"]]
    lines += _listed("margin within the floor", [f"{one['claim']} ({one['margin']:.1e})" for one in hanging])
    lines += _listed("moved beyond their snapshot's tolerance", [one["claim"] for one in beyond])
    for condition in dict.fromkeys(one["condition"] for one in moved if not one["floor"]):
        other = [
            f"{one['claim']} ({one['outcome']})"
            for one in moved
            if one["condition"] == condition and one["outcome"] not in ("supported", "survived")
        ]
        lines += _listed(f"not supported with {condition}", other)
    return lines


def _listed(what: str, claims: Sequence[str]) -> list[str]:
    lines = [f"  {what}: {'' if claims else 'none'}".rstrip()]
    for one in dict.fromkeys(claims):
        lines += wrapped(one, WIDTH, "    ", "      ", hyphens=False)
    return lines


def _name(outcome: Mapping[str, Any]) -> str:
    return short(outcome["claim"]["name"], outcome["checkpoint"])
