"""Heat maps of a run as tables: layer by head and layer by position, with the claimed cells marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_interp.heads import Head, KVHead
from pytest_interp.ledger.ledger import Ledger
from pytest_interp.ledger.profile import PromptDraw
from pytest_interp.ledger.record import Record, RecordedTable
from pytest_interp.measurement import quote
from pytest_interp.report.page.claims import ClaimView

LEVELS = 9
"""Steps of colour on either side of 0."""
SMALL = 0.01
"""Largest number of a heat map below which three decimals would show too little."""
MOST_CELLS = 20_000
"""Cells of all heat maps of a page; what comes after them is left out, and counted."""


@dataclass(frozen=True)
class Cell:
    """A cell of a heat map.

    Attributes:
        text: its number; empty where it is undefined.
        level: its step of colour, such as ``p9`` (the largest above 0), ``n1`` or ``u`` (undefined).
        mark: what claims say of it, such as ``name_mover``; empty where none is about it.
    """

    text: str
    level: str
    mark: str = ""


@dataclass
class HeatMap:
    """A matrix of numbers.

    Attributes:
        anchor: its name in the address of the page.
        checkpoint: the name of the checkpoint.
        title: what was measured.
        unit: of the numbers.
        axes: what rows and columns are.
        rows: their labels.
        columns: their labels.
        numbers: by row and column; None where there is none.
        marks: by row and column what claims say of the cell.
        claims: the claims that rest on it.
    """

    anchor: str
    checkpoint: str
    title: str
    unit: str
    axes: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    numbers: tuple[tuple[float | None, ...], ...]
    marks: dict[tuple[str, str], str] = field(default_factory=dict)
    claims: list[ClaimView] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number of cells."""
        return len(self.rows) * len(self.columns)

    @property
    def cells(self) -> list[tuple[str, list[Cell]]]:
        """The label of each row and its cells."""
        largest = max((abs(number) for row in self.numbers for number in row if number is not None), default=0.0) or 1.0
        rows = []
        for label, numbers in zip(self.rows, self.numbers, strict=True):
            places = zip(self.columns, numbers, strict=True)
            rows.append((label, [self._cell(label, column, number, largest) for column, number in places]))
        return rows

    def _cell(self, row: str, column: str, number: float | None, largest: float) -> Cell:
        mark = self.marks.get((row, column), "")
        if number is None:
            return Cell("", "u", mark)
        level = round(LEVELS * abs(number) / largest)
        sign = "p" if number > 0 else "n"
        text = quote(number) if largest < SMALL else f"{number + 0.0:.3f}".replace("-0.000", "0.000")
        return Cell(text, f"{sign}{level}" if level else "p0", mark)

    @property
    def largest(self) -> str:
        """The three cells that are furthest from 0, and their numbers."""
        cells = [
            (number, self.name(row, column))
            for row, numbers in zip(self.rows, self.numbers, strict=True)
            for column, number in zip(self.columns, numbers, strict=True)
            if number is not None
        ]
        furthest = sorted(cells, key=lambda cell: -abs(cell[0]))[:3]
        return ", ".join(f"{name} {quote(number)}" for number, name in furthest)

    def mark(self, claim: ClaimView, record: Record) -> None:
        """Notes that a claim rests on it, and marks the heads that the claim is about.

        Args:
            claim: that rests on it.
            record: of the verdict.
        """
        if claim not in self.claims:
            self.claims.append(claim)
        for head in record.context.heads or ():
            if isinstance(head, KVHead) == (self.axes[1] != "head"):
                self.marks.setdefault((str(head.layer), str(head.head)), claim.outcome.claim.role or "claimed")

    def name(self, row: str, column: str) -> str:
        """Returns the name of a cell, such as ``9.9`` or ``9 S2``.

        Args:
            row: its label.
            column: its label.
        """
        return f"{row}.{column}" if self.axes[1] == "head" else f"{row} {column}"


class HeatMaps:
    """The heat maps of a run. Equal sweeps of several claims are one, on which all claimed heads are marked.

    Attributes:
        shown: in the order of checkpoints, then claims.
        left_out: how many there are beside them; they are left out so that the page stays small.
    """

    def __init__(self, ledger: Ledger, claims: Sequence[ClaimView]) -> None:
        """Collects the heat maps, and tells each claim which of them its verdicts rest on."""
        self._maps: dict[tuple[object, ...], HeatMap] = {}
        for checkpoint in ledger.checkpoints:
            for draw in checkpoint.profile.draws[:1] if checkpoint.profile else ():
                self._add_profile(checkpoint.name, draw)
        rests: list[tuple[ClaimView, int, HeatMap]] = []
        for claim in claims:
            for place, record in enumerate(claim.outcome.records):
                if (heat_map := self._of_record(record, str(claim.outcome.checkpoint))) is not None:
                    heat_map.mark(claim, record)
                    rests.append((claim, place, heat_map))
        self.shown: list[HeatMap] = []
        cells = 0
        for heat_map in self._maps.values():
            cells += heat_map.size
            if cells <= MOST_CELLS:
                self.shown.append(heat_map)
        self.left_out = len(self._maps) - len(self.shown)
        anchors = {heat_map.anchor for heat_map in self.shown}
        for claim, place, heat_map in rests:
            if heat_map.anchor in anchors:
                claim.maps[place] = heat_map.anchor

    def _added(self, heat_map: HeatMap) -> HeatMap:
        """Returns the heat map; the one that is there already where its numbers are the same."""
        key = (heat_map.checkpoint, heat_map.title, heat_map.rows, heat_map.columns, heat_map.numbers)
        return self._maps.setdefault(key, heat_map)

    @property
    def _anchor(self) -> str:
        return f"map-{len(self._maps) + 1}"

    def _add_profile(self, checkpoint: str, draw: PromptDraw) -> None:
        """Adds the patching effects of all heads, and their scores for each role."""
        owners = {head: scores.role for scores in draw.roles for head in scores.heads}
        effects = "what patching z of each head at END from the clean run into the corrupted one adds"
        self._add_heads(checkpoint, effects, "logits", draw.effects, owners)
        for scores in draw.roles:
            title = f"role score of each head for {scores.role}: {scores.reads}"
            self._add_heads(checkpoint, title, "score", scores.means, dict.fromkeys(scores.heads, scores.role))

    def _add_heads(
        self, checkpoint: str, title: str, unit: str, numbers: Mapping[str, float], owners: Mapping[str, str]
    ) -> None:
        """Adds the heat map of numbers by head, with the heads of roles marked."""
        heads = {Head.parse(head): number for head, number in numbers.items()}
        rows, columns = sorted({head.layer for head in heads}), sorted({head.head for head in heads})
        values = tuple(tuple(heads.get(Head(row, column)) for column in columns) for row in rows)
        labels = tuple(map(str, rows)), tuple(map(str, columns))
        if not values:
            return
        heat_map = self._added(HeatMap(self._anchor, checkpoint, title, unit, ("layer", "head"), *labels, values))
        for name, role in owners.items():
            head = Head.parse(name)
            heat_map.marks[str(head.layer), str(head.head)] = role

    def _of_record(self, record: Record, checkpoint: str) -> HeatMap | None:
        """Returns the heat map that a verdict rests on; None where it rests on none of two dimensions."""
        if (sweep := record.sweep) is not None:
            title, axes = record.subject, ("layer", "head")
            for head in record.context.heads or ():
                title = title.replace(f" of {head} ", " of each head ", 1)
            rows, columns, values = sweep.rows, sweep.columns, sweep.values
        elif record.table is not None:
            places = {_place(label, record.table): value for label, value, _ in record.table.cells}
            rows, columns = (tuple(dict.fromkeys(place[side] for place in places)) for side in (0, 1))
            values = tuple(tuple(places.get((row, column)) for column in columns) for row in rows)
            axes, data = record.table.axes, record.context.data
            title = f"{record.table.quantity} by {axes[0]} and {axes[1]}{f' on {data.name}' if data else ''}"
        else:
            return None
        if len(rows) < 2 or len(columns) < 2:
            return None
        return self._added(HeatMap(self._anchor, checkpoint, title, record.unit, axes, rows, columns, values))


def _place(label: str, table: RecordedTable) -> tuple[str, str]:
    """Returns row and column of a cell from its label, such as ``9.9``, ``kv 9.1`` or ``9 S2``."""
    if table.axes[1] == "head":
        head = Head.parse(label)
        return str(head.layer), str(head.head)
    if label.startswith("kv "):
        shared = KVHead.parse(label)
        return str(shared.layer), str(shared.head)
    row, _, column = label.partition(" ")
    return row, column
