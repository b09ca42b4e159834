"""Figures: ``draw`` makes the figure of any measurement; the other functions make one kind of figure each.

A figure is a ``matplotlib.figure.Figure`` without pyplot's global state: ``draw(table).savefig("a.png")``. The import
of this module fails if matplotlib is missing, so that a long sweep is not run in vain.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from pytest_interp.common.canvas import (
    BLUE,
    GREY,
    INK,
    RED,
    canvas,
    require_matplotlib,
    ticks,
    titled,
    words,
)
from pytest_interp.errors import UsageError
from pytest_interp.measure.attribution_patching import Screen
from pytest_interp.measure.backup import BackupEffect
from pytest_interp.measure.next_token import NextToken
from pytest_interp.measurement import Measurement, mean
from pytest_interp.table import Table, place
from pytest_interp.text import counted
from pytest_interp.verdict.intervals import ends_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

require_matplotlib()


@singledispatch
def draw(result: Any, title: str = "") -> Figure:  # noqa: ARG001  (the signature of every kind below)
    """The figure of a result; the kind of figure follows from the type of the result.

    - a sweep with up to three columns: a line for each column; any other sweep, and a screen: a heat map;
    - a measurement: a dot for each prompt, in a row for each template;
    - measurements by name: bars with intervals;
    - a ``BackupEffect``: what heads write before against after;
    - points of ``attention_and_write``: a scatter; next tokens: bars of probability.

    Args:
        result: the result of a function of ``pytest_interp.measure``, or a dictionary of measurements by name.
        title: above the figure; by default the quantity, the checkpoint and the data set.

    Returns:
        A new figure, which belongs to the caller.

    Raises:
        UsageError: a result that has no figure.

    Example:
        >>> from pytest_interp import Sample
        >>> prompts = Sample(("a", "b", "c"), ("1", "1", "2"), "fixed")
        >>> accuracy = Measurement("probe accuracy", "share", [0.9, 0.8, 0.7], prompts)
        >>> draw({"layer 1": accuracy})
        <Figure size 440x352 with 1 Axes>
    """
    raise UsageError(
        f"{type(result).__name__} has no figure; pass a table, a screen, a measurement, a mapping of names to "
        "measurements, points or next tokens"
    )


@draw.register(Table)
def _(result: Table[Any], title: str = "") -> Figure:
    few = len(result.columns) <= 3 and all(isinstance(column, str) for column in result.columns)
    return lines(result, title) if few and len(result.rows) > 3 else heatmap(result, title)


@draw.register(Screen)
def _(result: Screen, title: str = "") -> Figure:
    places = [place(cell) for cell in result]
    rows, columns = list(dict.fromkeys(row for row, _ in places)), list(dict.fromkeys(column for _, column in places))
    estimates = dict(zip(places, result.values(), strict=True))
    matrix = [[estimates.get((row, column)) for column in columns] for row in rows]
    default = "attribution patching: where to look, no evidence"
    return _coloured(matrix, (rows, columns), result.axes, "estimated effect (logits)", title or default)


@draw.register(Measurement)
def _(result: Measurement, title: str = "") -> Figure:
    return strip(result, title)


@draw.register(BackupEffect)
def _(result: BackupEffect, title: str = "") -> Figure:
    return before_and_after(result.before, result.after, title)


@draw.register(Mapping)
def _(result: Mapping[Any, Any], title: str = "") -> Figure:
    if not result or not all(isinstance(value, Measurement) for value in result.values()):
        raise UsageError(
            f"a {type(result).__name__} of {len(result)} entries has no figure; pass one with a Measurement for each "
            "name, and at least one"
        )
    return bars({str(key): value for key, value in result.items()}, title)


@draw.register(Sequence)
def _(result: Sequence[Any], title: str = "") -> Figure:
    if result and all(isinstance(entry, NextToken) for entry in result):
        return _probabilities(result, title)
    if result and all(isinstance(entry, tuple) and len(entry) == len(("name", "read", "written")) for entry in result):
        return scatter(result, title)
    raise UsageError(
        f"a {type(result).__name__} of {len(result)} entries has no figure; pass what next_tokens or "
        "attention_and_write returned"
    )


def heatmap(table: Table[Any], title: str = "") -> Figure:
    """A heat map of a sweep over any two axes: blue above 0, red below, on one scale; undefined cells are grey."""
    label = f"{words(table.quantity)} ({table.unit})"
    return _coloured(table.matrix(), (table.rows, table.columns), table.axes, label, title or _about(table))


def _coloured(
    cells: Sequence[Sequence[float | None]],
    places: tuple[Sequence[Hashable], Sequence[Hashable]],
    names: tuple[str, str],
    label: str,
    title: str,
) -> Figure:
    """A heat map of numbers.

    Args:
        cells: a number for each row and column; None is grey.
        places: the labels of the rows, and those of the columns.
        names: of the two axes.
        label: of the colour bar.
        title: above the figure.
    """
    matrix = [[float("nan") if value is None else value for value in row] for row in cells]
    rows, columns = places
    defined = [value for row in cells for value in row if value is not None]
    size = max(map(abs, defined), default=1.0) or 1.0
    figure, axes = canvas(min(10.0, max(4.2, 0.45 * len(columns) + 2.2)), min(12.0, max(2.2, 0.2 * len(rows) + 1.2)))
    signed = any(value < 0 for value in defined)
    axes.set_facecolor(GREY)
    image = axes.imshow(
        matrix, cmap="RdBu" if signed else "Blues", vmin=-size if signed else 0, vmax=size, aspect="auto"
    )
    ticks(axes, "x", columns, names[1])
    ticks(axes, "y", rows, names[0])
    figure.colorbar(image, ax=axes, label=label)
    return titled(figure, axes, title)


def lines(table: Table[Any], title: str = "") -> Figure:
    """A line for each column of a sweep over layers, with the 95 % intervals of sampled populations as bands.

    Args:
        table: a sweep whose rows are layers.
        title: above the figure; by default the quantity, the checkpoint and the data set.
    """
    figure, axes = canvas(6.4, 3.4)
    ranks = {row: i for i, row in enumerate(table.rows)}
    for i, column in enumerate(table.columns):
        cells = [(ranks[cell[0]], measurement) for cell, measurement in table.items() if cell[1] == column]
        x, y = [rank for rank, _ in cells], [measurement.value for _, measurement in cells]
        colour = (BLUE, RED, INK)[i % 3]
        axes.plot(x, y, color=colour, label=str(column), linewidth=1.6, marker="." if len(x) < 3 else "")
        ends = [ends_of(measurement) for _, measurement in cells]
        axes.fill_between(x, [low for low, _ in ends], [high for _, high in ends], color=colour, alpha=0.15, lw=0)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    ticks(axes, "x", table.rows, table.axes[0])
    axes.set_ylabel(f"{words(table.quantity)} ({table.unit})")
    axes.legend(frameon=False)
    return titled(figure, axes, title or _about(table))


def bars(measurements: Mapping[str, Measurement], title: str = "") -> Figure:
    """A bar for each measurement, with the 95 % intervals of sampled populations.

    Args:
        measurements: by the label of the bar, all in one unit.
        title: above the figure; by default the quantity, the checkpoint and the data set.
    """
    figure, axes = canvas(max(4.0, 0.5 * len(measurements) + 1.6), 3.2)
    for i, measurement in enumerate(measurements.values()):
        low, high = ends_of(measurement)
        axes.bar(i, measurement.value, color=BLUE if measurement.value >= 0 else RED, width=0.7)
        axes.plot([i, i], [low, high], color=INK, linewidth=1.2)
    axes.axhline(0, color=INK, linewidth=0.8)
    ticks(axes, "x", list(measurements), "")
    first = next(iter(measurements.values()))
    axes.set_ylabel(f"{words(first.quantity)} ({first.unit})")
    return titled(figure, axes, title or _described(first))


def before_and_after(before: Mapping[Any, Measurement], after: Mapping[Any, Measurement], title: str = "") -> Figure:
    """What each head writes before (x) and after (y) other heads are knocked out; above the diagonal it writes more.

    Args:
        before: by head, in logits.
        after: of the same heads, in logits.
        title: above the figure; by default the quantity, the checkpoint and the data set.
    """
    figure, axes = canvas(4.6, 4.2)
    x, y = [before[head].value for head in before], [after[head].value for head in before]
    axes.plot([min(x + y), max(x + y)], [min(x + y), max(x + y)], color=GREY, linewidth=1)
    axes.scatter(x, y, color=BLUE, s=16)
    for head, old, new in sorted(zip(before, x, y, strict=True), key=lambda point: -abs(point[2] - point[1]))[:6]:
        axes.annotate(str(head), (old, new), textcoords="offset points", xytext=(5, 3), fontsize=8)
    axes.set_xlabel("before (logits)")
    axes.set_ylabel("after (logits)")
    return titled(figure, axes, title or _described(next(iter(before.values()))))


def strip(measurement: Measurement, title: str = "") -> Figure:
    """A dot for each prompt in a row for each template; a line for the mean, a band for its 95 % interval.

    Args:
        measurement: with values per prompt; those of a ratio are divided by the mean denominator.
        title: above the figure; by default the quantity, the checkpoint and the data set.
    """
    rows = list(dict.fromkeys(measurement.clusters))
    figure, axes = canvas(6.4, max(2.2, 0.24 * len(rows) + 1.2))
    values: Sequence[float] = measurement.values
    if measurement.scale:
        bottom = mean(measurement.scale)
        values = [value / bottom for value in values]
    axes.scatter(values, [rows.index(cluster) for cluster in measurement.clusters], color=BLUE, s=12, alpha=0.7)
    low, high = ends_of(measurement)
    axes.axvspan(low, high, color=BLUE, alpha=0.15, lw=0)
    axes.axvline(measurement.value, color=INK, linewidth=1.2)
    ticks(axes, "y", [row if len(row) < 34 else f"{row[:31]}..." for row in rows], "")
    axes.set_xlabel(f"{words(measurement.quantity)} ({measurement.unit})")
    return titled(figure, axes, title or _described(measurement))


def scatter(points: Sequence[tuple[str, Tensor, Tensor]], title: str = "") -> Figure:
    """Attention (x) against what is written towards the attended token (y); each position has a colour.

    Args:
        points: name of a position, attention to it and write towards its token, each of shape ``(prompt,)``.
        title: above the figure.
    """
    figure, axes = canvas(4.8, 3.6)
    for (name, read, written), colour in zip(points, (BLUE, RED, INK, GREY), strict=False):
        axes.scatter(read.tolist(), written.tolist(), color=colour, s=14, alpha=0.7, label=name)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.set_xlabel("attention from END (probability)")
    axes.set_ylabel("write towards the token (logits)")
    axes.legend(frameon=False)
    return titled(figure, axes, title)


def histogram(values: Mapping[str, Tensor], title: str = "", *, bins: int = 80, unit: str = "activation") -> Figure:
    """Histograms of several distributions on one axis, each of area 1.

    Args:
        values: the numbers of each distribution, by its label.
        title: above the figure.
        bins: the number of bins.
        unit: the label of the x axis.
    """
    figure, axes = canvas(6.4, 3.2)
    for i, (name, numbers) in enumerate(values.items()):
        axes.hist(numbers.tolist(), bins=bins, density=True, histtype="step", label=name, color=f"C{i}")
    axes.set_yscale("log")
    axes.set_xlabel(unit)
    axes.set_ylabel("density")
    axes.legend(frameon=False)
    return titled(figure, axes, title)


def pattern(attention: Tensor, tokens: Sequence[str], title: str = "") -> Figure:
    """The attention pattern of a head on a prompt.

    Args:
        attention: probabilities, shape ``(destination, source)``.
        tokens: of the prompt, as text.
        title: above the figure.
    """
    figure, axes = canvas(0.3 * len(tokens) + 2.2, 0.3 * len(tokens) + 1.4)
    image = axes.imshow(attention.tolist(), cmap="Blues", vmin=0, vmax=1)
    ticks(axes, "x", tokens, "source", all_labels=True)
    ticks(axes, "y", tokens, "destination", all_labels=True)
    axes.tick_params(axis="x", rotation=90)
    figure.colorbar(image, ax=axes, label="attention")
    return titled(figure, axes, title)


def _probabilities(tokens: Sequence[NextToken], title: str) -> Figure:
    """A bar of probability for each token, the most likely at the top."""
    figure, axes = canvas(5.2, 0.26 * len(tokens) + 1.1)
    labels = [f"{token.rank}  {token.token!r}" for token in tokens]
    axes.barh(range(len(tokens)), [token.probability for token in tokens], color=BLUE, height=0.7)
    axes.invert_yaxis()
    ticks(axes, "y", labels, "", all_labels=True)
    axes.set_xlabel("probability")
    return titled(figure, axes, title)


def _about(table: Table[Any]) -> str:
    return _described(next(iter(table.values())))


def _described(measurement: Measurement) -> str:
    return f"{words(measurement.quantity)}: {measurement.context.place}, {counted(len(measurement.values), 'prompt')}"
