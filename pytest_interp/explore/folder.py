"""The folder of an exploration: numbers, figures, and the claims to write next; every file is written whole."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pytest_interp.common.canvas import MatplotlibMissing, require_matplotlib
from pytest_interp.common.files import write_whole
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.explore.exploration import Exploration
from pytest_interp.explore.looks import PLANS, Look
from pytest_interp.explore.views import CellRow, cell_rows
from pytest_interp.table import Table, place

NUMBERS, CLAIMS = "exploration.json", "test_explored.py"
FORMAT = 1
"""The version of the layout of ``exploration.json``."""
DRAWN_ROWS = 30
"""Rows of a figure of heads by position: those with the largest cells."""


def prepare(folder: Path) -> None:
    """Makes a folder, and deletes the tables and figures of an earlier exploration in it.

    Args:
        folder: of the exploration.

    Raises:
        UsageError: it is a file, or no file can be made in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
        for plan in PLANS:
            for kind in ("csv", "png"):
                (folder / f"{plan.name}.{kind}").unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"--output is {folder}, where no file can be written ({error.strerror}); pass a folder that can be written"
        ) from None


def missing_figures() -> str:
    """Why figures are not drawn; empty where they are."""
    try:
        require_matplotlib()
    except MatplotlibMissing as error:
        return str(error)
    return ""


def write(exploration: Exploration, folder: Path) -> None:
    """Writes what an exploration has so far: its numbers, the files of its last look, and at its end the claims.

    Args:
        exploration: complete or not; the numbers say which.
        folder: that exists.
    """
    write_whole(folder / NUMBERS, json.dumps(_content(exploration), indent=1) + "\n")
    for look in exploration.looks[-1:]:
        if look.table is not None:
            write_whole(folder / f"{look.name}.csv", _csv(cell_rows(look.table)))
            if not missing_figures():
                _figure(look, folder)
    if exploration.claims:
        write_whole(folder / CLAIMS, exploration.claims)


def _content(exploration: Exploration) -> dict[str, Any]:
    """An exploration as plain data."""
    return {
        "format": FORMAT,
        "complete": exploration.complete,
        "checkpoint": exploration.checkpoint,
        "task": exploration.task.name,
        "data": exploration.data,
        "corruption": exploration.corruption,
        "noising": exploration.noising,
        "capable": exploration.capable,
        "remarks": list(exploration.remarks),
        "looks": [_look(look) for look in exploration.looks],
        "claims": exploration.claims,
    }


def _look(look: Look) -> dict[str, Any]:
    table = look.table
    about = {"name": look.name, "question": look.question, "left_out": look.left_out}
    if table is None:
        return about
    return {
        **about,
        "quantity": table.quantity,
        "axes": list(table.axes),
        "cells": [row._asdict() for row in cell_rows(table)],
    }


def _csv(rows: list[CellRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CellRow._fields)
    writer.writerows(rows)
    return text.getvalue()


def _figure(look: Look, folder: Path) -> None:
    """Draws the table of a look."""
    from pytest_interp import figures

    table, title = look.table, look.name.replace("_", " ")
    assert table is not None
    try:
        if look.layout == "list":
            drawn = figures.bars(
                {_bar(row): table[cell] for cell in table for row in [str(place(cell)[0])]}, look.question
            )
        else:
            drawn = figures.draw(_largest_rows(table), title)
    except NotApplicable:  # a cell without a value has no place in a figure
        return
    part = folder / f".{look.name}.part.png"
    drawn.savefig(part)
    part.replace(folder / f"{look.name}.png")


def _bar(label: str) -> str:
    """The label of a bar: a template's number without its text."""
    return label.partition(":")[0]


def _largest_rows(table: Table[Any]) -> Table[Any]:
    """A table of heads by position without the rows that a figure has no room for."""
    if table.axes != ("head", "position") or len(table.rows) <= DRAWN_ROWS:
        return table
    chosen = list(dict.fromkeys(cell[0] for cell, _ in table.top(len(table), most="absolute")))[:DRAWN_ROWS]
    cells = {cell: effect for cell, effect in table.items() if cell[0] in chosen}
    undefined = {cell: reason for cell, reason in table.undefined.items() if cell[0] in chosen}
    return Table(cells, table.axes, undefined, tuple(cell for cell in table.layout if cell[0] in chosen))
