"""Record: everything that one verdict rests on, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

from pytest_interp.common.context import Context
from pytest_interp.measurement import Measurement, Sample

Outcome: TypeAlias = Literal["supported", "refuted", "inconclusive"]
DECISIONS = ("found", "confirmed")
"""Details of a record that are decisions, as labels of heads: a snapshot must match them exactly."""


@dataclass(frozen=True)
class RecordedMember:
    """The contribution of one member to the effect of a set of heads.

    Attributes:
        member: its label, such as ``9.9``.
        contribution: the contribution as a word.
        alone: the effect of the member alone, in the unit of the record; None where it was not measured.
        marginal: the effect of the set minus the effect of the set without the member; None as above.
        alone_interval: 95 % interval of ``alone``; None of a fixed population.
        marginal_interval: 95 % interval of ``marginal``; None of a fixed population.
    """

    member: str
    contribution: str
    alone: float | None
    marginal: float | None
    alone_interval: tuple[float, float] | None
    marginal_interval: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a table of JSON: texts, numbers, lists and None.

        Returns:
            A new dictionary with a key for each attribute.
        """
        return _table(self)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RecordedMember:
        """Returns the member that a table of JSON describes.

        Args:
            table: what :meth:`to_json` returned.

        Returns:
            A member equal to the one that was written.
        """
        ends = {key: _pair(table[key]) for key in ("alone_interval", "marginal_interval")}
        return cls(**{**table, **ends})


@dataclass(frozen=True)
class RecordedTable:
    """The cells of the sweep that a verdict is about.

    Attributes:
        quantity: what was measured.
        unit: of the values.
        axes: what rows and columns are, such as ``("layer", "head")``.
        cells: label, value and 95 % interval of each defined cell; no interval of a fixed population.
    """

    quantity: str
    unit: str
    axes: tuple[str, str]
    cells: tuple[tuple[str, float, tuple[float, float] | None], ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a table of JSON; a cell is a list of label, value, low and high.

        Returns:
            A new dictionary with a key for each attribute.
        """
        cells = [[label, value, *(ends or (None, None))] for label, value, ends in self.cells]
        return {"quantity": self.quantity, "unit": self.unit, "axes": list(self.axes), "cells": cells}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RecordedTable:
        """Returns the cells that a table of JSON describes.

        Args:
            table: what :meth:`to_json` returned.

        Returns:
            Cells equal to those that were written.
        """
        rows, columns = table["axes"]
        cells = tuple(
            (label, value, None if low is None else (low, high)) for label, value, low, high in table["cells"]
        )
        return cls(table["quantity"], table["unit"], (rows, columns), cells)


@dataclass(frozen=True)
class RecordedSweep:
    """The values of a claim's measurement on every head, as far as they are defined: what its specificity rests on.

    Attributes:
        rows: the layers.
        columns: the heads of a layer.
        values: a number for each row and column, to four digits; None where it is undefined.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a table of JSON.

        Returns:
            A new dictionary with a key for each attribute.
        """
        return _table(self)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RecordedSweep:
        """Returns the sweep that a table of JSON describes.

        Args:
            table: what :meth:`to_json` returned.

        Returns:
            A sweep equal to the one that was written.
        """
        return cls(tuple(table["rows"]), tuple(table["columns"]), tuple(map(tuple, table["values"])))


@dataclass(frozen=True)
class Record:
    """Everything that one verdict rests on.

    Attributes:
        subject: what the verdict is about, such as ``copy_score of 9.9``.
        quantity: what was measured.
        outcome: the verdict.
        value: the mean over prompts, in ``unit``.
        unit: of the values.
        tolerance: how far float noise may move ``value``, in ``unit``; at least 0.
        population: ``fixed`` or ``sampled``.
        n: number of values; at least 1.
        bound: the bound in words.
        slack: distance of ``value`` from the bound, in ``unit``; positive inside, negative outside.
        margin: the smaller of these distances for the two ends of the interval; that of ``value`` without an interval.
        interval: the ends of the 95 % interval, in ``unit``; None of a fixed population.
        method: how the interval was computed.
        templates: number of clusters of the interval; None of a fixed population.
        controls: label and value of each control; no value where it cannot be measured.
        controls_shown: the controls as text.
        same: labels of controls that do as much as the claim.
        members: what each member of a set of heads adds.
        specific: a text that says for how many other heads the claim holds too; None where they were not measured.
        version: of the measurement's definition.
        notes: remarks on what the number does not settle.
        caveats: reasons why the verdict means less than its word, such as a control that does as much.
        details: further values by name.
        context: the model, prompts, heads and intervention; the ledger has it under ``about``.
        values: one number for each prompt, in data-set order; empty where they were left out.
        scale: the denominators of a ratio of means; else empty.
        sample: the prompts, with labels, templates and names; None where they were left out.
        table: the cells of the sweep that the verdict is about; None of any other verdict.
        sweep: the same measurement on every head; None where it was not measured.
        examples: number of verdicts under ``@given`` of which this is the worst; None of any other claim.
    """

    subject: str
    quantity: str
    outcome: Outcome
    value: float
    unit: str
    tolerance: float
    population: str
    n: int
    bound: str
    slack: float
    margin: float
    interval: tuple[float, float] | None
    method: str
    templates: int | None
    controls: tuple[tuple[str, float | None], ...]
    controls_shown: tuple[str, ...]
    same: tuple[str, ...]
    members: tuple[RecordedMember, ...]
    specific: str | None
    version: int
    notes: tuple[str, ...]
    caveats: tuple[str, ...]
    details: Mapping[str, Any]
    context: Context
    values: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    sample: Sample | None = None
    table: RecordedTable | None = None
    sweep: RecordedSweep | None = None
    examples: int | None = None

    def measurement(self) -> Measurement | None:
        """Returns the numbers prompt by prompt; None where the ledger does not have them."""
        if not self.values:
            return None
        rows = tuple(f"row {row}" for row in range(1, len(self.values) + 1))
        sample = self.sample or Sample(rows, rows, "fixed")
        return Measurement(
            self.quantity, self.unit, self.values, sample, self.scale, self.tolerance, self.context, self.version
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a table of JSON: texts, numbers, lists, tables and None.

        Returns:
            A new dictionary with a key for each attribute; the last six have none where they are empty.
        """
        table = _table(self)
        return {key: table[key] for key in table if key not in _OPTIONAL or table[key]}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Record:
        """Returns the record that a table of JSON describes.

        Args:
            table: what :meth:`to_json` returned, directly or parsed from JSON text.

        Returns:
            A record equal to the one that was written.
        """
        sample, cells, sweep = (table.get(key) for key in ("sample", "table", "sweep"))
        typed = {
            "interval": _pair(table["interval"]),
            "controls": tuple((label, value) for label, value in table["controls"]),
            "members": tuple(map(RecordedMember.from_json, table["members"])),
            "sample": None if sample is None else _sample(sample),
            "table": None if cells is None else RecordedTable.from_json(cells),
            "sweep": None if sweep is None else RecordedSweep.from_json(sweep),
            "context": Context.from_json(table["about"]),
            **{key: tuple(table[key]) for key in ("controls_shown", "same", "notes", "caveats")},
            **{key: tuple(map(_number, table.get(key, ()))) for key in ("values", "scale")},
            **{key: _number(table[key]) for key in ("value", "tolerance", "slack", "margin")},
        }
        return cls(**{key: value for key, value in table.items() if key != "about"} | typed)


_OPTIONAL = ("values", "scale", "sample", "table", "sweep", "examples")
"""Fields that are written only where they are not empty."""
_KEYS = {"context": "about"}
"""Keys of JSON that differ from the name of the field."""


def _table(value: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass, in their order, each converted by `_json`."""
    return {_KEYS.get(field.name, field.name): _json(getattr(value, field.name)) for field in fields(value)}


def _json(value: Any) -> Any:
    """Returns a field as JSON has it: a tuple as a list, a mapping as a dictionary."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, Sample):
        return asdict(value)
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _pair(ends: Any) -> tuple[float, float] | None:
    """Returns the ends of an interval as a tuple: JSON has a list."""
    return None if ends is None else (_number(ends[0]), _number(ends[1]))


def _number(value: Any) -> float:
    """Returns a number of JSON; infinities and NaN, which JSON lacks, are texts there."""
    return float(value) if isinstance(value, str) else value


def _sample(table: Mapping[str, Any]) -> Sample:
    """Returns the prompts that a table of JSON describes."""
    names = tuple(map(tuple, table["names"]))
    return Sample(tuple(table["labels"]), tuple(table["clusters"]), table["population"], names)
