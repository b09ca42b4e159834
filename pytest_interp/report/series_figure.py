"""The figure of a series: the number of each claim by step, a panel for each role and quantity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from pytest_interp.common.canvas import BLUE, GREY, INK, RED, grid, require_matplotlib, ticks, titled, words
from pytest_interp.common.steps import step_of
from pytest_interp.compare.series import ClaimSeries, Number, Series
from pytest_interp.errors import UsageError
from pytest_interp.report.series import labels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, MOST_PANELS, MOST_LABELS = 3, 18, 8
"""Panels in a row, panels in all, and lines of a panel up to which it has a legend."""
COLOURS = (BLUE, RED, INK, "#7a9e3f", "#c98a2b", "#6d5a9c")


def figure_of(series: Series) -> Figure:
    """Returns a figure with a panel for each role and quantity.

    A line is the value of a claim by step, a band its 95 % interval, a dashed line an end of the bound. A hollow point
    is a step at which the claim is not supported. Of more than 18 panels those with the most claims are drawn.

    Args:
        series: of checkpoints.

    Raises:
        MatplotlibMissing: matplotlib is not installed.
        UsageError: no claim has a number.
    """
    require_matplotlib()
    panels: dict[tuple[str, str, str], list[ClaimSeries]] = {}
    for claim in series.claims:
        if claim.numbers:
            number = claim.numbers[0]
            panels.setdefault((claim.role, number.quantity, number.unit), []).append(claim)
    if not panels:
        raise UsageError("no claim has a number, so that there is no figure")
    largest = sorted(panels, key=lambda key: -len(panels[key]))[:MOST_PANELS]
    shown = [key for key in panels if key in largest]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = grid(3.8 * columns, 2.6 * rows, rows, columns)
    for panel, (role, quantity, unit) in zip(axes, shown, strict=False):
        _draw(panel, panels[role, quantity, unit])
        ticks(panel, "x", *_steps(series))
        panel.set_ylabel(f"{words(quantity)} ({unit})", fontsize=8)
        titled(figure, panel, words(role) or "no role")
    for empty in axes[len(shown) :]:
        empty.set_axis_off()
    return figure


def _steps(series: Series) -> tuple[list[str], str]:
    """Returns the labels of the steps and the name of their axis: numbers alone, where the steps have numbers."""
    labels = labels_of(series)
    if not series.by_number:
        return labels, ""
    return [f"{step_of(label):g}" for label in labels], re.split(r"[-_]?\d", labels[0])[0]


def _draw(axes: Axes, claims: Sequence[ClaimSeries]) -> None:
    """Draws the claims of a panel."""
    for claim, colour in zip(claims, cycle(COLOURS), strict=False):
        number = claim.numbers[0]
        places = [place for place, value in enumerate(number.values) if value is not None]
        values = [value for value in number.values if value is not None]
        axes.plot(places, values, color=colour, linewidth=1.4, label=_short(claim, claims))
        filled = [colour if place in claim.supported else "white" for place in places]
        axes.scatter(places, values, color=filled, edgecolors=colour, s=16, zorder=3)
        ends = [_ends(number, place) for place in places]
        axes.fill_between(places, [low for low, _ in ends], [high for _, high in ends], color=colour, alpha=0.12, lw=0)
    for end in {end for claim in claims for end in claim.numbers[0].ends}:
        axes.axhline(end, color=GREY, linewidth=1, linestyle="--", zorder=0)
    if len(claims) <= MOST_LABELS:
        axes.legend(frameon=False, fontsize=6)


def _ends(number: Number, place: int) -> tuple[float, float]:
    """Returns the interval at a step; the value twice without one."""
    value = number.values[place] or 0.0
    return number.intervals[place] or (value, value)


def _short(claim: ClaimSeries, claims: Sequence[ClaimSeries]) -> str:
    """Returns the head of a claim where the panel is about one function, else the end of its name."""
    functions = {other.name.partition(" ")[0] for other in claims}
    parameters = claim.name.partition(" ")[2]
    return parameters if len(functions) == 1 and parameters else claim.name.rpartition("/")[2].partition(".")[2]
