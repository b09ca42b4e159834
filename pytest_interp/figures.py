"""Figures: one function that draws whatever a measurement returned, and the few kinds of picture it draws.

A figure is a ``matplotlib.figure.Figure`` of its own, without pyplot's global state: ``draw(table).savefig("a.png")``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_interp.errors import UsageError
from pytest_interp.measurement import Measurement, mean
from pytest_interp.table import Table, name_of
from pytest_interp.verdict.intervals import ends_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

_INK, _BLUE, _RED, _GREY = "#222222", "#2a6f97", "#b23a48", "#b8b8b8"


def draw(result: Any, title: str = "") -> Figure:
    """The figure of a result.

    A sweep with many columns is a heat map, one with a few a line for each column; a measurement is a dot for each
    prompt in a row for each template; measurements by name are bars with their intervals; points of
    ``attention_and_write`` are a scatter; a next-token table is bars of probability.

    Raises:
        UsageError: nothing that can be drawn.
    """
    from pytest_interp.measure.backup import BackupEffect
    from pytest_interp.measure.next_token import NextToken

    if isinstance(result, Table):
        few = len(result.columns) <= 3 and all(isinstance(column, str) for column in result.columns)
        return lines(result, title) if few and len(result.rows) > 3 else heatmap(result, title)
    if isinstance(result, Measurement):
        return strip(result, title)
    if isinstance(result, BackupEffect):
        return before_and_after(result.before, result.after, title)
    if isinstance(result, Mapping) and result:
        return bars({str(key): value for key, value in result.items()}, title)
    if isinstance(result, Sequence) and result and isinstance(result[0], NextToken):
        return _probabilities(result, title)
    if isinstance(result, Sequence) and result and isinstance(result[0], tuple) and len(result[0]) == 3:
        return scatter(result, title)
    raise UsageError(
        f"{type(result).__name__} has no figure; pass a table, a measurement, a mapping of names to measurements, "
        "points or next tokens"
    )


def heatmap(table: Table[Any], title: str = "") -> Figure:
    """A sweep as coloured cells, blue above 0 and red below on one scale; cells that are undefined stay grey."""
    matrix = [[float("nan") if value is None else value for value in row] for row in table.matrix()]
    size = max((abs(value) for row in matrix for value in row if value == value), default=1.0) or 1.0  # noqa: PLR0124
    height = min(12.0, max(2.2, 0.2 * len(matrix) + 1.2))
    figure, axes = _canvas(min(10.0, max(4.2, 0.45 * len(table.columns) + 2.2)), height)
    signed = any(value < 0 for row in matrix for value in row)
    axes.set_facecolor(_GREY)
    image = axes.imshow(
        matrix, cmap="RdBu" if signed else "Blues", vmin=-size if signed else 0, vmax=size, aspect="auto"
    )
    _ticks(axes, "x", table.columns, table.axes[1])
    _ticks(axes, "y", table.rows, table.axes[0])
    figure.colorbar(image, ax=axes, label=f"{_words(table.quantity)} ({table.unit})")
    return _titled(figure, axes, title or _about(table))


def lines(table: Table[Any], title: str = "") -> Figure:
    """A sweep over layers as a line for each column, with the intervals of sampled populations as bands."""
    figure, axes = _canvas(6.4, 3.4)
    places = {row: i for i, row in enumerate(table.rows)}
    for i, column in enumerate(table.columns):
        cells = [(places[cell[0]], one) for cell, one in table.items() if cell[1] == column]
        x, y = [place for place, _ in cells], [one.value for _, one in cells]
        colour = (_BLUE, _RED, _INK)[i % 3]
        axes.plot(x, y, color=colour, label=str(column), linewidth=1.6, marker="." if len(x) < 3 else "")
        ends = [ends_of(one) for _, one in cells]
        axes.fill_between(x, [low for low, _ in ends], [high for _, high in ends], color=colour, alpha=0.15, lw=0)
    axes.axhline(0, color=_GREY, linewidth=0.8, zorder=0)
    _ticks(axes, "x", table.rows, table.axes[0])
    axes.set_ylabel(f"{_words(table.quantity)} ({table.unit})")
    axes.legend(frameon=False)
    return _titled(figure, axes, title or _about(table))


def bars(measurements: Mapping[str, Measurement], title: str = "") -> Figure:
    """Measurements side by side, with the 95 % intervals of sampled ones."""
    figure, axes = _canvas(max(4.0, 0.5 * len(measurements) + 1.6), 3.2)
    for i, one in enumerate(measurements.values()):
        low, high = ends_of(one)
        axes.bar(i, one.value, color=_BLUE if one.value >= 0 else _RED, width=0.7)
        axes.plot([i, i], [low, high], color=_INK, linewidth=1.2)
    axes.axhline(0, color=_INK, linewidth=0.8)
    _ticks(axes, "x", list(measurements), "")
    first = next(iter(measurements.values()))
    axes.set_ylabel(f"{_words(first.quantity)} ({first.unit})")
    return _titled(figure, axes, title or _described(first))


def before_and_after(before: Mapping[Any, Measurement], after: Mapping[Any, Measurement], title: str = "") -> Figure:
    """What heads write before and after others are knocked out: above the diagonal they rise."""
    figure, axes = _canvas(4.6, 4.2)
    x, y = [one.value for one in before.values()], [after[key].value for key in before]
    axes.plot([min(x + y), max(x + y)], [min(x + y), max(x + y)], color=_GREY, linewidth=1)
    axes.scatter(x, y, color=_BLUE, s=16)
    for key, a, b in sorted(zip(before, x, y, strict=True), key=lambda row: -abs(row[2] - row[1]))[:6]:
        axes.annotate(str(key), (a, b), textcoords="offset points", xytext=(5, 3), fontsize=8)
    axes.set_xlabel("before (logits)")
    axes.set_ylabel("after (logits)")
    return _titled(figure, axes, title or _described(next(iter(before.values()))))


def strip(measurement: Measurement, title: str = "") -> Figure:
    """A dot for each prompt in a row for each template, the mean and its interval across."""
    rows = list(dict.fromkeys(measurement.clusters))
    figure, axes = _canvas(6.4, max(2.2, 0.24 * len(rows) + 1.2))
    values: Sequence[float] = measurement.values
    if measurement.scale:
        bottom = mean(measurement.scale)
        values = [value / bottom for value in values]
    axes.scatter(values, [rows.index(cluster) for cluster in measurement.clusters], color=_BLUE, s=12, alpha=0.7)
    low, high = ends_of(measurement)
    axes.axvspan(low, high, color=_BLUE, alpha=0.15, lw=0)
    axes.axvline(measurement.value, color=_INK, linewidth=1.2)
    _ticks(axes, "y", [row if len(row) < 34 else f"{row[:31]}..." for row in rows], "")
    axes.set_xlabel(f"{_words(measurement.quantity)} ({measurement.unit})")
    return _titled(figure, axes, title or _described(measurement))


def scatter(points: Sequence[tuple[str, Tensor, Tensor]], title: str = "") -> Figure:
    """Attention against what is written towards the token attended to, a colour for each position."""
    figure, axes = _canvas(4.8, 3.6)
    for (name, read, written), colour in zip(points, (_BLUE, _RED, _INK, _GREY), strict=False):
        axes.scatter(read.tolist(), written.tolist(), color=colour, s=14, alpha=0.7, label=name)
    axes.axhline(0, color=_GREY, linewidth=0.8, zorder=0)
    axes.set_xlabel("attention from END (probability)")
    axes.set_ylabel("write towards the token (logits)")
    axes.legend(frameon=False)
    return _titled(figure, axes, title)


def histogram(values: Mapping[str, Tensor], title: str = "", *, bins: int = 80, unit: str = "activation") -> Figure:
    """Distributions on one axis, each scaled to area 1."""
    figure, axes = _canvas(6.4, 3.2)
    for i, (name, numbers) in enumerate(values.items()):
        axes.hist(numbers.tolist(), bins=bins, density=True, histtype="step", label=name, color=f"C{i}")
    axes.set_yscale("log")
    axes.set_xlabel(unit)
    axes.set_ylabel("density")
    axes.legend(frameon=False)
    return _titled(figure, axes, title)


def pattern(attention: Tensor, tokens: Sequence[str], title: str = "") -> Figure:
    """The attention pattern of one head on one prompt: destinations down, sources across."""
    figure, axes = _canvas(0.3 * len(tokens) + 2.2, 0.3 * len(tokens) + 1.4)
    image = axes.imshow(attention.tolist(), cmap="Blues", vmin=0, vmax=1)
    _ticks(axes, "x", tokens, "source", every=True)
    _ticks(axes, "y", tokens, "destination", every=True)
    axes.tick_params(axis="x", rotation=90)
    figure.colorbar(image, ax=axes, label="attention")
    return _titled(figure, axes, title)


def _probabilities(tokens: Sequence[Any], title: str) -> Figure:
    figure, axes = _canvas(5.2, 0.26 * len(tokens) + 1.1)
    labels = [f"{one.rank}  {one.token!r}" for one in tokens]
    axes.barh(range(len(tokens)), [one.probability for one in tokens], color=_BLUE, height=0.7)
    axes.invert_yaxis()
    _ticks(axes, "y", labels, "", every=True)
    axes.set_xlabel("probability")
    return _titled(figure, axes, title)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure as MatplotlibFigure
    except ImportError:
        raise UsageError("figures need matplotlib: pip install 'pytest-interp[figures]'") from None
    figure = MatplotlibFigure(figsize=(width, height), layout="constrained", dpi=110)
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _ticks(axes: Axes, which: str, labels: Sequence[Any], name: str, *, every: bool = False) -> None:
    """A tick for each label, or for every few where they are many."""
    step = 1 if every or len(labels) <= 16 or (which == "y" and len(labels) <= 40) else -(-len(labels) // 12)
    places = list(range(0, len(labels), step))
    texts = [name_of(label) for label in labels]
    steep = which == "x" and max(map(len, texts)) * len(places) > 60
    getattr(axes, f"set_{which}ticks")(places, [texts[i] for i in places], fontsize=8, rotation=45 if steep else 0)
    getattr(axes, f"set_{which}label")(name)


def _titled(figure: Figure, axes: Axes, title: str) -> Figure:
    axes.set_title(title, fontsize=9, loc="left")
    return figure


def _about(table: Table[Any]) -> str:
    return _described(next(iter(table.values())))


def _described(one: Measurement) -> str:
    where = one.context.place
    return f"{_words(one.quantity)}: {where}, {len(one.values)} prompts"


def _words(quantity: str) -> str:
    return quantity.replace("_", " ")
