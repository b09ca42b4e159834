"""The assertion on a whole matrix of a sweep, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import fsum, isfinite
from typing import Any

from pytest_interp.assertions.answer import conclude
from pytest_interp.assertions.sweeps import check_swept, undefined_cells, where_measured
from pytest_interp.common.arguments import checked, is_list_of
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measurement import Measurement, quote
from pytest_interp.table import Table, name_of, place
from pytest_interp.text import counted, shown
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import Outcome, Verdict
from pytest_interp.verdict.robustness import judge_all


@checked
def assert_matrix(
    table: Table[Any], expected: Mapping[Any, float] | Sequence[Sequence[float | None]], *, within: float
) -> Verdict:
    """Asserts that every cell is within a tolerance of an expected matrix; names the worst cells.

    Each cell is judged as a single measurement near its number is: by its value within numeric tolerance, or by its
    interval where the prompts are a sample. All of them must hold; one that surely does not (of a sample: corrected for
    their number, Bonferroni) refutes the claim. Where a cell is undefined, since the intervention can change nothing
    there, a number within the tolerance of no effect is left out and counted, and any other refutes the claim.

    Args:
        table: what a sweep returned.
        expected: a number for each cell, or rows of numbers in the table's order; None where there is none.
        within: the largest difference that is accepted, in the table's unit.

    Raises:
        UsageError: rows or columns of another number, or a cell that the table does not have.
        NotApplicable: a ratio without a denominator surely above float noise, or one that float noise moves by more
            than a quarter of ``within``.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> from pytest_interp.measure import direct_logit_attribution_sweep
        >>> table = direct_logit_attribution_sweep(experiment)
        >>> assert_matrix(table, {"3.0": 6, "3.1": 4, "3.2": 3, "4.0": -4}, within=0.5).outcome
        'supported'
    """
    __tracebackhide__ = True
    check_swept(table)
    size = Bound.of(at_most=within).high
    if size < 0:
        raise UsageError(f"within is {within:g}; it is how far each cell may be off: 0 or more")
    accepted = Bound(-size, size, f"within {size:g} of the expected number")
    numbers = _expected(table, expected)
    differences = {cell: _minus(table[cell], number) for cell, number in numbers.items() if cell in table.cells}
    no_effect = next(iter(table.values())).no_effect
    undefined = {cell: number for cell, number in numbers.items() if cell not in table.cells}
    impossible = {cell: number for cell, number in undefined.items() if not accepted.accepts(number - no_effect)}
    if not differences:
        raise NotApplicable(f"none of the expected cells is defined: {next(iter(table.undefined.values()))}")
    verdicts = judge_all(differences, accepted)
    worst = next(iter(verdicts))
    outcome: Outcome = "refuted" if impossible else verdicts[worst].outcome
    cell_texts = [f"{name_of(cell)} can have no effect for {quote(number)}" for cell, number in impossible.items()]
    cell_texts += [f"{name_of(cell)} {quote(table[cell].value)} for {quote(numbers[cell])}" for cell in verdicts]
    sizes = [abs(difference.value) for difference in differences.values()]
    details = {
        "worst cells": "; ".join(cell_texts[:4]),
        "mean size": quote(fsum(sizes) / len(sizes)),
        **undefined_cells(table, len(undefined)),
    }
    verdict = replace(verdicts[worst], outcome=outcome, details=details)
    largest = max(abs(table[cell].value) for cell in differences)
    if table[worst].tolerance < largest <= within:
        caveat = f"a matrix of zeros would pass too: no cell is larger than {quote(largest)}"
        verdict = replace(verdict, caveats=(*verdict.caveats, caveat))
    subject = (
        f"largest difference of {counted(len(differences), 'cell')} of {table.quantity} on {where_measured(table)}"
    )
    return conclude(verdict, subject, table=table)


def _minus(cell: Measurement, number: float) -> Measurement:
    """A cell minus what is expected of it; a ratio keeps its denominators, so that it is judged as one."""
    offsets = [number * scale for scale in cell.scale] if cell.scale else [number] * len(cell.values)
    return replace(
        cell,
        quantity=f"{cell.quantity}_difference",
        unit="gap" if cell.unit == "share" else cell.unit,
        values=tuple(value - offset for value, offset in zip(cell.values, offsets, strict=True)),
        context=replace(cell.context, heads=()),
    )


def _is_matrix(expected: Any) -> bool:
    """Whether a value has rows that have entries: lists, an array or a tensor of two dimensions."""
    if hasattr(expected, "ndim"):
        return bool(expected.ndim == 2)
    rows = is_list_of(lambda row: isinstance(row, Sequence) or getattr(row, "ndim", 0) == 1)
    return rows(expected) and not any(isinstance(row, str | bytes) for row in expected)


def _number(number: Any) -> float:
    """A number, of numpy or torch too."""
    if isinstance(number, str | bytes):
        raise UsageError(f"the expected matrix has {shown(number)}; pass numbers")
    try:
        return float(number)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise UsageError(f"the expected matrix has {shown(number)}; pass numbers") from None


def _expected(table: Table[Any], expected: Any) -> dict[Any, float]:
    """The expected number of each cell that has one.

    Raises:
        UsageError: no matrix, one of another size, a cell that the table does not have, or no finite number.
    """
    if isinstance(expected, Mapping):
        numbers = {table.cell_of(cell): _number(number) for cell, number in expected.items()}
    elif not _is_matrix(expected):
        raise UsageError(
            f"expected is {shown(expected)}; pass rows of numbers, such as [[0.1, 0.2], [0.3, None]], or a dictionary "
            "of numbers by cell"
        )
    else:
        rows, columns = table.rows, table.columns
        if len(expected) != len(rows) or any(len(row) != len(columns) for row in expected):
            raise UsageError(
                f"the expected matrix has {len(expected)} rows of {sorted({len(row) for row in expected})} numbers; "
                f"the table of {table.quantity} has {len(rows)} rows ({table.axes[0]}) of {len(columns)} "
                f"({table.axes[1]})"
            )
        at = {place(cell): cell for cell in table.layout}
        numbers = {
            at[row, column]: _number(number)
            for row, of_row in zip(rows, expected, strict=True)
            for column, number in zip(columns, of_row, strict=True)
            if number is not None and (row, column) in at
        }
    if not numbers:
        raise UsageError("the expected matrix has no numbers; pass at least one")
    if not_finite := [name_of(cell) for cell, number in numbers.items() if not isfinite(number)]:
        raise UsageError(f"the expected number of cell {not_finite[0]} is not finite; pass None where there is none")
    return numbers
