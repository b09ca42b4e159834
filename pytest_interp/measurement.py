"""A measurement: floats per prompt in data-set order, and what was measured on what.

Plain values, standard library only: a measurement knows nothing of bounds, intervals or pytest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum, isfinite
from typing import Literal, TypeAlias

from pytest_interp.common.arguments import check_fields
from pytest_interp.common.context import NO_CONTEXT, Context
from pytest_interp.common.quantities import QUANTITIES
from pytest_interp.errors import NotApplicable, UsageError, nearest
from pytest_interp.text import counted, line, shown
from pytest_interp.tolerance import FLOAT_NOISE

Population: TypeAlias = Literal["fixed", "sampled"]


def check_quantity(quantity: object, own: Sequence[str] = ()) -> None:
    """Refuses the name of a quantity that nothing measures.

    Args:
        quantity: such as ``copy_score``.
        own: the quantities that a circuit file declares beside those of the tool.

    Raises:
        UsageError: it is another word.
    """
    quantities = (*QUANTITIES, *own)
    if not isinstance(quantity, str) or quantity not in quantities:
        raise UsageError(
            f"{shown(quantity)} is no quantity, so that no circuit file can bound it{nearest(quantity, quantities)}; "
            "one of your own is declared at the top of the file: quantities = [...]"
        )


def check_population(population: object) -> None:
    """Refuses what is neither of the two populations.

    Args:
        population: such as ``fixed``.

    Raises:
        UsageError: it is another word.
    """
    if not isinstance(population, str) or population not in ("fixed", "sampled"):
        raise UsageError(
            f"population is {shown(population)}; pass 'fixed' (these prompts only) or 'sampled' (they stand for more "
            "of "
            "their kind)"
        )


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean, summed without rounding error.

    Args:
        values: at least one.

    Returns:
        Their mean.
    """
    return fsum(values) / len(values)


@dataclass(frozen=True)
class Sample:
    """The prompts (or names) that a quantity is measured on; the cells of a sweep share one.

    Attributes:
        labels: what each value belongs to, for a reader, in data-set order.
        clusters: the template of each prompt; prompts of one template are not independent.
        population: ``fixed`` (these prompts, or a property of the weights) or ``sampled``.
        names: the names in each prompt, a factor that crosses templates; empty where there are none.

    Raises:
        UsageError: an unknown population; prompts with different numbers of names.
    """

    labels: tuple[str, ...]
    clusters: tuple[str, ...]
    population: Population
    names: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        check_population(self.population)
        if len(counts := {len(names) for names in self.names}) > 1:
            raise UsageError(
                f"some prompts have {counted(min(counts), 'name')} and others {max(counts)}; "
                "pass as many for each prompt, such as (answer, distractor)"
            )

    def of_rows(self, rows: Sequence[int]) -> Sample:
        """Some of the prompts, by row.

        Args:
            rows: their indices, in the order that is wanted.

        Returns:
            The sample of these prompts.
        """
        return Sample(
            labels=tuple(self.labels[row] for row in rows),
            clusters=tuple(self.clusters[row] for row in rows),
            population=self.population,
            names=tuple(self.names[row] for row in rows) if self.names else (),
        )


@dataclass(frozen=True)
class Measurement:
    """A quantity measured once for each prompt (or name) of a population.

    Attributes:
        quantity: its name, such as ``logit_diff``.
        unit: ``logits``, ``share``, ``probability``, ``recovered`` ...
        values: one float for each prompt, in data-set order.
        sample: the prompts, with their labels, clusters, population and names.
        scale: where the quantity is a ratio of means, its denominators; else empty.
        tolerance: how far float noise alone may move ``value``; for a share, how much of it noise could flip.
        context: what it was measured on.
        version: of the quantity's definition; another one gives other numbers.

    Example:
        >>> sample = Sample(("prompt a", "prompt b"), ("template 1", "template 2"), "sampled")
        >>> measurement = Measurement("logit_diff", "logits", (2.0, 3.0), sample)
        >>> measurement
        <Measurement logit_diff = 2.500 logits, 2 prompts from 2.000 to 3.000, sampled>
        >>> measurement.of_rows([1]).value
        3.0
        >>> paired_difference(measurement, measurement.of_rows([0])).labels
        ('prompt a',)
    """

    quantity: str
    unit: str
    values: tuple[float, ...]
    sample: Sample
    scale: tuple[float, ...] = ()
    tolerance: float = FLOAT_NOISE["float32"]
    context: Context = NO_CONTEXT
    version: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        n = len(self.values)
        if n == 0:
            raise UsageError(f"{self.quantity}: there are no values; pass at least one prompt")
        if len(self.labels) != n or len(self.clusters) != n or {len(self.scale), len(self.names)} - {0, n}:
            raise UsageError(
                f"{self.quantity}: {counted(n, 'value')}, {counted(len(self.labels), 'label')}, "
                f"{counted(len(self.clusters), 'cluster')}; "
                "pass one label and one cluster for each value"
            )
        if self.unit == "share" and any(value < 0 or value > 1 for value in self.values):
            raise UsageError(f"{self.quantity}: a share has values between 0 and 1; use another unit")
        bad = [label for label, value in zip(self.labels, self.values, strict=True) if not isfinite(value)]
        if bad:
            raise UsageError(
                f"{self.quantity}: {len(bad)} of {counted(n, 'value')} are not finite (first: {shown(bad[0])}); "
                "look for NaN in the weights or the logits, or use float32"
            )

    def __repr__(self) -> str:
        """One line: what was measured, its value and unit, how many prompts, and their spread."""
        checkpoint, prompts, heads = self.context.checkpoint, self.context.data, self.context.heads
        of = f" of {', '.join(map(str, heads))}" if heads else ""
        data = f"{f'; {checkpoint.name}' if checkpoint else ''}{f' on {prompts.name}' if prompts else ''}"
        what, count = self.context.observation, len(self.values)
        try:
            value = quote(self.value)
        except NotApplicable:
            value = "undefined"
        spread = f" from {quote(min(self.values))} to {quote(max(self.values))}" if count > 1 and not self.scale else ""
        text = f"{self.quantity}{of} = {value} {self.unit}, {counted(count, what)}{spread}, {self.population}{data}"
        return f"<Measurement {line(text)}>"

    @property
    def labels(self) -> tuple[str, ...]:
        """What each value belongs to, for a reader."""
        return self.sample.labels

    @property
    def clusters(self) -> tuple[str, ...]:
        """The template of each prompt."""
        return self.sample.clusters

    @property
    def population(self) -> Population:
        """``fixed`` or ``sampled``."""
        return self.sample.population

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """The names in each prompt; empty where there are none."""
        return self.sample.names

    @property
    def value(self) -> float:
        """The mean over prompts; for a ratio, mean numerator over mean denominator.

        Raises:
            NotApplicable: the denominators of a ratio have mean 0.
        """
        return self.value_of(range(len(self.values)))

    def value_of(self, rows: Sequence[int]) -> float:
        """The mean over some of the prompts; for a ratio, mean numerator over mean denominator.

        Args:
            rows: the indices of the prompts.

        Returns:
            A number in the unit of the measurement.

        Raises:
            NotApplicable: the denominators of a ratio have mean 0.
        """
        numerator = mean([self.values[row] for row in rows])
        if not self.scale:
            return numerator
        denominator = mean([self.scale[row] for row in rows])
        if denominator == 0:
            raise NotApplicable(f"{self.quantity} is undefined: its denominator has mean 0")
        return numerator / denominator

    @property
    def no_effect(self) -> float:
        """The value of an intervention that does nothing: 1 of what is still recovered when noise is put in, else 0."""
        return 1.0 if self.unit == "recovered" and self.context.direction == "noise" else 0.0

    @property
    def linear_values(self) -> tuple[float, ...]:
        """One value for each prompt whose mean is ``value`` and whose spread is that of ``value``.

        For a ratio ``r`` of means these are ``r + (numerator - r * denominator) / mean denominator``: numerator and
        denominator of a prompt vary together (the delta method).
        """
        if not self.scale:
            return self.values
        ratio, mean_denominator = self.value, mean(self.scale)
        pairs = zip(self.values, self.scale, strict=True)
        return tuple(ratio + (numerator - ratio * denominator) / mean_denominator for numerator, denominator in pairs)

    def of_rows(self, rows: Sequence[int]) -> Measurement:
        """The same measurement on some of the prompts.

        Args:
            rows: the indices of the prompts.

        Returns:
            A measurement with these prompts, in the order of ``rows``.
        """
        return replace(
            self,
            values=tuple(self.values[row] for row in rows),
            sample=self.sample.of_rows(rows),
            scale=tuple(self.scale[row] for row in rows) if self.scale else (),
        )


def paired_difference(first: Measurement, second: Measurement) -> Measurement | None:
    """``first`` minus ``second`` on the prompts that both have; None where there are none.

    Args:
        first: any measurement.
        second: of the same quantity; it may have other prompts.

    Returns:
        One difference for each such prompt, in the unit of both (``gap`` for shares), with the first one's templates
        and names. Its tolerance is the sum of both; of shares none, since ties count against either already.
    """
    if first.sample is not second.sample:
        # The label of a name may hold its rank, which differs from head to head; its cluster is the name itself.
        by_cluster = all(len(set(side.clusters)) == len(side.clusters) for side in (first, second))
        identities = [side.clusters if by_cluster else side.labels for side in (first, second)]
        rows_by_identity = [_numbered(side) for side in identities]
        common = [label for label in rows_by_identity[0] if label in rows_by_identity[1]]
        if not common:
            return None
        if identities[0] != identities[1]:
            first, second = (
                measurement.of_rows([row[label] for label in common])
                for measurement, row in zip((first, second), rows_by_identity, strict=True)
            )
    return replace(
        first,
        quantity=f"{first.quantity}_difference",
        unit="gap" if first.unit == "share" else first.unit,
        values=tuple(a - b for a, b in zip(first.linear_values, second.linear_values, strict=True)),
        scale=(),
        context=replace(first.context, left_out=0),
        tolerance=0.0 if first.unit == "share" else first.tolerance + second.tolerance,
    )


def _numbered(labels: Sequence[str]) -> dict[tuple[str, int], int]:
    """Rows by label, and how often it stood before: the same prompt may have been drawn twice."""
    seen: dict[str, int] = {}
    rows: dict[tuple[str, int], int] = {}
    for row, label in enumerate(labels):
        seen[label] = seen.get(label, -1) + 1
        rows[label, seen[label]] = row
    return rows


def quote(value: float) -> str:
    """A number for a reader: three decimals, scientific where those would show nothing but there is something.

    Args:
        value: any number.

    Returns:
        Text such as ``0.125`` or ``2.0e-04``.

    Example:
        >>> quote(0.12345), quote(0.0002), quote(-1e-9)
        ('0.123', '2.0e-04', '0.000')
    """
    return f"{value:.1e}" if 1e-5 <= abs(value) < 5e-4 else f"{value + 0.0:.3f}".replace("-0.000", "0.000")


def quote_both(before: float, after: float) -> tuple[str, str]:
    """Two numbers with as many decimals as tell them apart, three at least and nine at most.

    Args:
        before: the first number.
        after: the second one.

    Returns:
        Both as text.

    Example:
        >>> quote_both(3.65012, 3.65049), quote_both(3.65, 3.654)
        (('3.6501', '3.6505'), ('3.650', '3.654'))
    """
    digits = 3
    while digits < 9 and before != after and abs(after - before) < 10.0**-digits:
        digits += 1
    return f"{before:.{digits}f}", f"{after:.{digits}f}"
