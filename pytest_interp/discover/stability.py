"""Stage 6: how often each head would be in the circuit on other templates and names, from stored effects.

No pass is made. A bootstrap draws templates and, within each, names again; the rule of the search is asked of the
drawn prompts: a place of the circuit stays where its loss takes the faithfulness out of the band, or F(C) away from
F(M); a place outside joins where it brings F(C) nearer to F(M).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_interp.discover.fit import BAND
from pytest_interp.discover.search import LEAST_GAIN
from pytest_interp.discover.selection import Selection
from pytest_interp.heads import Head
from pytest_interp.measurement import Measurement

if TYPE_CHECKING:
    from pytest_interp.measurement import Sample

RESAMPLES = 200
"""Draws of the bootstrap."""
STABLE = 0.8
"""The inclusion frequency below which a head is interchangeable."""
REPLACEMENTS = 3
"""How many heads are named that replace an interchangeable one."""


@dataclass(frozen=True)
class Stability:
    """How often heads are included.

    Attributes:
        frequency: for each head of the circuit and each that replaces one, the share of resamples with it.
        by_template: the same over the resamples of one template's prompts, for heads of the circuit.
        replacements: for each interchangeable head, those that are included most where it is not.
        resamples: how many draws.
    """

    frequency: Mapping[Head, float]
    by_template: Mapping[Head, Mapping[str, float]]
    replacements: Mapping[Head, tuple[Head, ...]]
    resamples: int

    def is_interchangeable(self, head: Head) -> bool:
        """Whether a head is included less often than a stable one."""
        return self.frequency.get(head, 0.0) < STABLE


def stability_of(selection: Selection, seed: int) -> Stability:
    """Returns how often each head is included.

    Args:
        selection: with the effects of its places, prompt by prompt.
        seed: of the draws.
    """
    sample, rng = selection.faithfulness.sample, random.Random(seed)
    draws = [_drawn(sample, rng) for _ in range(RESAMPLES)]
    included = [_included(selection, rows) for rows in draws]
    heads = selection.heads
    counts = Counter(head for heads_of_draw in included for head in heads_of_draw)
    unstable = [head for head in heads if counts[head] < STABLE * RESAMPLES]
    replacements: dict[Head, tuple[Head, ...]] = {}
    for head in unstable:
        others = Counter(
            other for present in included if head not in present for other in present if other not in heads
        )
        replacements[head] = tuple(other for other, _ in others.most_common(REPLACEMENTS))
    named = {*heads, *(other for others in replacements.values() for other in others)}
    by_template: dict[Head, dict[str, float]] = {head: {} for head in heads}
    for template in dict.fromkeys(sample.clusters):
        rows = [row for row, cluster in enumerate(sample.clusters) if cluster == template]
        of_template = [_included(selection, [rng.choice(rows) for _ in rows]) for _ in range(RESAMPLES // 10)]
        for head in heads:
            by_template[head][template] = sum(head in present for present in of_template) / len(of_template)
    return Stability({head: counts[head] / RESAMPLES for head in sorted(named)}, by_template, replacements, RESAMPLES)


def _drawn(sample: Sample, rng: random.Random) -> list[int]:
    """Rows of drawn templates; within a template the answers (or single prompts) are drawn too."""
    by_template: dict[str, dict[str, list[int]]] = {}
    for row, template in enumerate(sample.clusters):
        name = sample.names[row][0] if sample.names else str(row)
        by_template.setdefault(template, {}).setdefault(name, []).append(row)
    templates = list(by_template)
    rows: list[int] = []
    for template in rng.choices(templates, k=len(templates)):
        names = list(by_template[template])
        for name in rng.choices(names, k=len(names)):
            rows += by_template[template][name]
    return rows


def _included(selection: Selection, rows: Sequence[int]) -> frozenset[Head]:
    """The heads that the rule includes on these prompts."""
    faithful = selection.faithfulness
    alone, whole = ([column[row] for row in rows] for column in (faithful.values, faithful.scale))
    if sum(whole) <= 0:
        return frozenset()

    def distance(change: Measurement | None, sign: int) -> float:
        moved = [0.0] * len(rows) if change is None else [sign * change.values[row] for row in rows]
        gaps = [abs(part + move - model) for part, move, model in zip(alone, moved, whole, strict=True)]
        return sum(gaps) / sum(whole)

    def is_in_band(without: Measurement | None) -> bool:
        loss = 0.0 if without is None else sum(without.values[row] for row in rows)
        return BAND[0] <= (sum(alone) - loss) / sum(whole) <= BAND[1]

    at_present, in_band = distance(None, 1), is_in_band(None)
    stay = {
        place.head
        for place, effect in selection.lost.items()
        if (in_band and not is_in_band(effect)) or distance(effect, -1) > at_present + LEAST_GAIN
    }
    join = {place.head for place, effect in selection.gained.items() if distance(effect, 1) < at_present - LEAST_GAIN}
    return frozenset(stay | join)
