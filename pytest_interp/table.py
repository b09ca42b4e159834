"""A table: what a sweep returns, a measurement in each cell, or why the cell is undefined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

from pytest_interp.common.arguments import check_fields
from pytest_interp.errors import NotApplicable, UsageError, nearest
from pytest_interp.heads import Head, KVHead, as_head
from pytest_interp.measurement import Measurement, quote
from pytest_interp.text import counted, line, shown

Row: TypeAlias = int | str | Head | KVHead
Cell: TypeAlias = Head | KVHead | tuple[Row, int | str]
C = TypeVar("C", bound=Cell)
H = TypeVar("H", Head, KVHead)


@dataclass(frozen=True)
class Table(Mapping[C, Measurement], Generic[C]):
    """Measurements by cell: a head (layer by head), or a pair such as ``(9, "S2")`` (layer by position).

    Attributes:
        cells: in the order of rows, then columns.
        axes: what rows and columns are, such as ``("layer", "head")``.
        undefined: cells whose intervention could change nothing, with the reason; no part of any ranking.
        layout: all cells, defined or not, in order; by default those that are defined.

    Example:
        >>> from pytest_interp.measurement import Measurement, Sample
        >>> sample = Sample(("a", "b"), ("template 1", "template 2"), "fixed")
        >>> effects = {Head(9, 9): Measurement("effect", "logits", (2.0, 3.0), sample), Head(9, 8): "writes nothing"}
        >>> table = heads_table(effects)
        >>> table
        <Table of effect (logits), 1 layer by 2 heads; largest: 9.9 2.500; 1 undefined>
        >>> table["9.9"].value, table.undefined[Head(9, 8)], "9.7" in table
        (2.5, 'writes nothing', False)
        >>> table.matrix()
        [[2.5, None]]
    """

    cells: Mapping[C, Measurement]
    axes: tuple[str, str]
    undefined: Mapping[C, str] = field(default_factory=dict)
    layout: tuple[C, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("cells", "undefined"):  # a fixture may share the table with other claims
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if not self.cells:
            if self.undefined:
                raise NotApplicable(f"no cell is defined: {next(iter(self.undefined.values()))}")
            raise UsageError("a table needs at least one cell; nothing was measured")
        if not self.layout:
            object.__setattr__(self, "layout", tuple(self.cells))

    @classmethod
    def of(cls, effects: Mapping[C, Measurement | str], axes: tuple[str, str]) -> Table[C]:
        """A table of cells that are measured, or undefined for a reason.

        Args:
            effects: a measurement for each cell, or the reason why there is none.
            axes: what rows and columns are.

        Returns:
            The table, with all cells in the order of ``effects``.

        Raises:
            UsageError: effects that are no mapping.
            NotApplicable: all of them are undefined.
        """
        if not isinstance(effects, Mapping):
            raise UsageError(
                f"effects is {shown(effects)}; pass a Measurement, or the reason that there is none, by cell"
            )
        cells = {cell: effect for cell, effect in effects.items() if isinstance(effect, Measurement)}
        undefined = {cell: effect for cell, effect in effects.items() if isinstance(effect, str)}
        return cls(cells, axes, undefined, tuple(effects))

    def __getitem__(self, key: Any) -> Measurement:
        return self.cells[self.key(key)]

    def __contains__(self, key: object) -> bool:
        try:
            self.key(key)
        except (UsageError, NotApplicable):
            return False
        return True

    def __iter__(self) -> Iterator[C]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __repr__(self) -> str:
        """One line: what was measured, the size, the largest cells, how many are undefined."""
        largest = ", ".join(f"{name_of(cell)} {value}" for cell, value in self._largest(3))
        undefined = f"; {len(self.undefined)} undefined" if self.undefined else ""
        counts = zip((len(self.rows), len(self.columns)), self.axes, strict=True)
        size = " by ".join(counted(count, axis) for count, axis in counts)
        text = f"{self.quantity} ({self.unit}), {size}; largest: {largest}{undefined}"
        return f"<Table of {line(text)}>"

    def _largest(self, count: int) -> list[tuple[C, str]]:
        """The cells that are furthest from 0, with their values for a reader; cells without a value come last."""
        sizes: dict[C, float] = {}
        for cell, measurement in self.cells.items():
            with suppress(NotApplicable):
                sizes[cell] = measurement.value
        return [(cell, quote(sizes[cell])) for cell in sorted(sizes, key=lambda cell: -abs(sizes[cell]))[:count]]

    @property
    def quantity(self) -> str:
        """What every cell measures."""
        return next(iter(self.cells.values())).quantity

    @property
    def unit(self) -> str:
        """The unit of every cell."""
        return next(iter(self.cells.values())).unit

    def key(self, key: Any) -> C:
        """The defined cell that a key means.

        Args:
            key: a head as ``"9.9"`` or ``Head(9, 9)``, or a pair such as ``(9, "S2")``.

        Returns:
            The cell, as the table has it.

        Raises:
            UsageError: the table has no such cell.
            NotApplicable: the cell is undefined.
        """
        cell = self.cell_of(key)
        if cell in self.undefined:
            raise NotApplicable(self.undefined[cell])
        return cell

    def cell_of(self, key: Any) -> C:
        """The cell that a key means, defined or not.

        Args:
            key: as for :meth:`key`.

        Returns:
            The cell, as the table has it.

        Raises:
            UsageError: the table has no such cell.
        """
        if _hashable(key) and (key in self.cells or key in self.undefined):
            cell: C = key
            return cell
        first = self.layout[0]
        if isinstance(first, Head | KVHead) and not isinstance(key, KVHead):
            head_cell: Any = type(first)(*_pair(as_head(key)))
            if head_cell in self.layout:
                return self.cell_of(head_cell)
        names = [name_of(cell) for cell in self.layout]
        name = line(name_of(key)) if _hashable(key) else shown(key)
        raise UsageError(
            f"the table of {self.quantity} has no cell {name}: its cells are {self.axes[0]} by {self.axes[1]}, "
            f"{names[0]} to {names[-1]}{nearest(name, names)}"
        )

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows, in order."""
        return tuple(dict.fromkeys(place(cell)[0] for cell in self.layout))

    @property
    def columns(self) -> tuple[int | str, ...]:
        """The columns, in order."""
        return tuple(dict.fromkeys(place(cell)[1] for cell in self.layout))

    def matrix(
        self, value: Callable[[Measurement], float] = lambda measurement: measurement.value
    ) -> list[list[float | None]]:
        """A number for each row and column.

        Args:
            value: the number of a measurement; by default its value.

        Returns:
            A list of rows, each a list over columns; None where there is no cell, or an undefined one.
        """
        numbers = {place(cell): value(measurement) for cell, measurement in self.cells.items()}
        return [[numbers.get((row, column)) for column in self.columns] for row in self.rows]

    def top(self, count: int, *, most: str = "positive") -> list[tuple[C, Measurement]]:
        """The cells with the largest values.

        Args:
            count: how many cells.
            most: ``positive``; ``negative``: the smallest values; ``absolute``: the largest in size.

        Returns:
            Cells with their measurements, the first of the ranking first. Undefined cells take no part.

        Raises:
            UsageError: another word for ``most``.
        """
        sort = ranking(most)
        return sorted(self.cells.items(), key=lambda item: -sort(item[1].value))[:count]


def ranking(most: str) -> Callable[[float], float]:
    """What to sort by for the most positive, most negative or largest absolute values.

    Args:
        most: ``positive``, ``negative`` or ``absolute``.

    Returns:
        A function of a value; the first of the ranking has the largest result.

    Raises:
        UsageError: another word.
    """
    orders: dict[str, Callable[[float], float]] = {"positive": lambda x: x, "negative": lambda x: -x, "absolute": abs}
    if not isinstance(most, str) or most not in orders:
        raise UsageError(f"most is {shown(most)}; allowed: {', '.join(map(repr, orders))}")
    return orders[most]


def _hashable(key: object) -> bool:
    """Whether a value can be looked up in a dictionary."""
    try:
        hash(key)
    except TypeError:
        return False
    return True


def place(cell: Cell) -> tuple[Row, int | str]:
    """The row and the column of a cell.

    Args:
        cell: a head, or a pair.

    Returns:
        A layer and the number of a head, or the pair itself.
    """
    return _pair(cell) if isinstance(cell, Head | KVHead) else cell


def name_of(cell: Cell) -> str:
    """A cell for a reader.

    Args:
        cell: a head, or a pair.

    Returns:
        ``9.9`` for a head; ``9 S2`` for layer 9 at S2.
    """
    return " ".join(map(str, cell)) if isinstance(cell, tuple) else str(cell)


def _pair(head: Head | KVHead) -> tuple[int, int]:
    """The layer and the number of a head."""
    return head.layer, head.head


def heads_table(effects: Mapping[H, Measurement | str]) -> Table[H]:
    """A table with a row for each layer and a column for each head.

    Args:
        effects: by head or by key-value head: a measurement, or the reason why it is undefined.

    Returns:
        The table.

    Raises:
        NotApplicable: no cell is defined.
    """
    return Table.of(effects, ("layer", "key-value head" if isinstance(next(iter(effects), None), KVHead) else "head"))
