"""The views of an exploration: lines of a terminal, HTML for a notebook, rows for CSV and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from pytest_interp.errors import NotApplicable
from pytest_interp.explore.looks import Look
from pytest_interp.measurement import Measurement, quote
from pytest_interp.table import Table, name_of, place
from pytest_interp.text import columns, counted, line, wrapped
from pytest_interp.verdict.intervals import ends_of

WIDTH = 80
"""Columns of a terminal."""
SHOWN = 10
"""Cells of a ranking that are shown."""
ROWS = 16
"""Rows of a grid that are shown at most."""
LABEL = 46
"""Columns of a label."""


class Shown(NamedTuple):
    """A table for a reader: a heading for each column, rows of text, and what is not shown."""

    headings: list[str]
    rows: list[list[str]]
    note: str


def shown_of(look: Look) -> Shown:
    """What a reader sees of a look's table.

    Args:
        look: with a table.

    Returns:
        Headings, rows, and a note on cells that are not shown.
    """
    table = look.table
    assert table is not None
    if look.layout == "grid":
        return _grid(table)
    single = len(table.columns) == 1
    cells = list(table) if look.layout == "list" else [cell for cell, _ in table.top(SHOWN, most="absolute")]
    if look.layout == "ranking":
        cells = [cell for cell in cells if abs(table[cell].value) > table[cell].tolerance] or cells[:1]
    rows = [
        [_short(str(place(cell)[0]) if single else name_of(cell)), quote(table[cell].value), _interval(table[cell])]
        for cell in cells
    ]
    heading = table.axes[0] if single else "head" if table.axes == ("layer", "head") else " ".join(table.axes)
    notes = [f"the largest {len(cells)} of {len(table)}"] if len(cells) < len(table) else []
    notes += [f"{len(table.undefined)} more are undefined: nothing can change there"] if table.undefined else []
    return Shown([heading, table.unit, "95 % interval"], rows, "; ".join(notes))


def _grid(table: Table[Any]) -> Shown:
    """A table with its own rows and columns; of many rows every second, third and so on, and the last one."""
    step = -(-len(table.rows) // ROWS)
    chosen = sorted({*range(0, len(table.rows), step), len(table.rows) - 1})
    matrix = table.matrix()
    rows = [
        [_short(str(table.rows[i])), *("" if value is None else quote(value) for value in matrix[i])] for i in chosen
    ]
    note = f"{len(chosen)} of {counted(len(table.rows), 'row')}" if len(chosen) < len(table.rows) else ""
    headings = [f"{table.axes[0]} ({table.unit})", *map(str, table.columns)]
    if table.undefined:
        note = "; ".join(filter(None, (note, "empty cells are undefined: nothing can change there")))
    return Shown(headings, rows, note)


def terminal(look: Look) -> list[str]:
    """A look for a terminal.

    Args:
        look: with its table, or with the reason why there is none.

    Returns:
        Lines of at most 80 columns, the question first.
    """
    lines = wrapped(look.question, WIDTH, hyphens=False)
    if look.table is None:
        return [*lines, *wrapped(f"left out: {look.left_out}", WIDTH, "  ", "    ")]
    shown = shown_of(look)
    lines += _aligned([shown.headings, *shown.rows])
    return [*lines, *(wrapped(f"({shown.note})", WIDTH, "  ", "   ") if shown.note else [])]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines: the first column to the left, the others to the right; blocks of columns that fit."""
    widths = [max(columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    blocks: list[list[int]] = [[]]
    used = 2 + widths[0]
    for i in range(1, len(widths)):
        if used + 2 + widths[i] > WIDTH and blocks[-1]:
            blocks.append([])
            used = 2 + widths[0]
        blocks[-1].append(i)
        used += 2 + widths[i]
    lines = []
    for block in blocks:
        for row in rows:
            first = row[0] + " " * (widths[0] - columns(row[0]))
            lines.append(f"  {first}{''.join(f'  {row[i]:>{widths[i]}}' for i in block)}".rstrip())
    return lines


def as_html(title: str, remarks: Sequence[str], looks: Sequence[Look], claims: str) -> str:
    """An exploration for a notebook.

    Args:
        title: of the exploration.
        remarks: what a reader must know first.
        looks: in order.
        claims: the text of a test file; empty for none.

    Returns:
        HTML, with all foreign text escaped.
    """
    parts = [f"<h3>{escape(line(title))}</h3>", *(f"<p><b>{escape(line(remark, 1_000))}</b></p>" for remark in remarks)]
    for look in looks:
        parts.append(f"<h4>{escape(look.name)}</h4><p>{escape(look.question)}</p>")
        if look.table is None:
            parts.append(f"<p>left out: {escape(line(look.left_out, 1_000))}</p>")
            continue
        shown = shown_of(look)
        parts.append("<table>" + _html_row("th", shown.headings) + "".join(_html_row("td", r) for r in shown.rows))
        parts.append(f"</table>{f'<p>{escape(shown.note)}</p>' if shown.note else ''}")
    if claims:
        parts.append(f"<h4>what to ask next</h4><pre>{escape(claims)}</pre>")
    return "\n".join(parts)


def _html_row(tag: str, texts: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(text)}</{tag}>' for text in texts)}</tr>"


class CellRow(NamedTuple):
    """A cell of a table as it stands in CSV and JSON files.

    Attributes:
        row: such as a layer, a head or a template.
        column: such as a position; for a table by layer and head the number of the head.
        value: None where it is undefined.
        low: the lower end of the 95 % interval; the value itself for a fixed population.
        high: the upper end.
        unit: of the three numbers.
        prompts: how many were measured.
        undefined: why there is no value.
    """

    row: str
    column: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    prompts: int
    undefined: str


def cell_rows(table: Table[Any]) -> list[CellRow]:
    """All cells of a table, in its order.

    Args:
        table: the measurements.

    Returns:
        A row for each cell, defined or not.
    """
    rows = []
    for cell in table.layout:
        row, column = map(str, place(cell))
        if cell in table.undefined:
            rows.append(CellRow(row, column, None, None, None, table.unit, 0, table.undefined[cell]))
            continue
        effect = table[cell]
        try:
            (low, high), value = ends_of(effect), effect.value
        except NotApplicable as error:
            rows.append(CellRow(row, column, None, None, None, effect.unit, len(effect.values), str(error)))
        else:
            rows.append(CellRow(row, column, value, low, high, effect.unit, len(effect.values), ""))
    return rows


def _interval(effect: Measurement) -> str:
    """The 95 % interval; empty where there is none."""
    low, high = ends_of(effect)
    return "" if low == high == effect.value else f"[{quote(low)}, {quote(high)}]"


def _short(label: str) -> str:
    text = line(label)
    return text if columns(text) <= LABEL else f"{text[: LABEL - 3]}..."
