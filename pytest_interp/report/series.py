"""A series of checkpoints: lines for a terminal of 80 columns, Markdown, JSON for a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pytest_interp.compare.series import ClaimSeries, Number, Series
from pytest_interp.report.comparison import cell
from pytest_interp.report.layout import WIDTH
from pytest_interp.report.terminal import Line
from pytest_interp.text import counted, line, wrapped

LETTERS = {"supported": "+", "refuted": "-", "inconclusive": "?", "not applicable": "o", "error": "x"}
"""The letter of an outcome; any other outcome has ``!``, a claim that a ledger lacks ``.``."""
LEGEND = "+ supported, - refuted, ? inconclusive, o not applicable, x error, ! other, . not in the ledger"
MOST_VALUES = 12
"""Steps up to which the terminal shows the value of each."""


def terminal(series: Series) -> list[Line]:
    """Returns the series for a terminal: the steps, claims by role, Jaccard indices, one sentence.

    Args:
        series: of checkpoints.

    Returns:
        Lines of at most 79 columns.
    """
    order = "in the order of their numbers" if series.by_number else "in the order of the ledgers"
    lines = _wrapped(f"{len(series.steps)} steps, {order}: {', '.join(labels_of(series))}")
    lines += [text for step in incomplete(series) for text in _wrapped(step)]
    if series.causes:
        lines += _wrapped(f"steps differ in more than their weights: {'; '.join(series.causes)}")
    lines += _wrapped(LEGEND)
    for role, claims in series.roles.items():
        lines += ["", *_wrapped(f"{line(role) or 'no role'}: supported {_counts(series, claims)} of {len(claims)}")]
        for claim in claims:
            lines += _claim(series, claim)
    reference = labels_of(series)[series.reference]
    lines += ["", *_wrapped(f"supported claims: {_counts(series, series.claims)} of {len(series.claims)}")]
    lines += _wrapped(f"Jaccard index with the step before: {_shares(series.adjacent)}")
    lines += _wrapped(f"Jaccard index with {reference}: {_shares(series.to_reference)}")
    return [*map(Line, lines), *(Line(text, {"bold": True}) for text in wrapped(summary(series), WIDTH))]


def summary(series: Series) -> str:
    """Returns one sentence: how many claims hold to the end, emerge, are lost, dip and turn round.

    Args:
        series: of checkpoints.
    """
    fates = Counter(_fate(claim) for claim in series.claims)
    parts = [f"{fates[fate]} {fate}" for fate in FATES if fates[fate]]
    parts += [f"{count} with a dip" for count in [sum(bool(claim.dips) for claim in series.claims)] if count]
    parts += [f"{count} reversed" for count in [sum(bool(claim.reversals) for claim in series.claims)] if count]
    count = len(series.claims)
    return f"{counted(count, 'claim')} over {len(series.steps)} steps: {', '.join(parts)}"


FATES = ("supported throughout", "emerging", "lost by the end", "never supported", "without a verdict")
"""What becomes of a claim over a series."""


def _fate(claim: ClaimSeries) -> str:
    if not claim.judged:
        return FATES[4]
    if claim.emergence is not None:
        return FATES[0] if claim.emergence == claim.judged[0] else FATES[1]
    return FATES[2] if claim.supported else FATES[3]


def incomplete(series: Series) -> list[str]:
    """Returns a sentence for each ledger whose run did not come to its end.

    Args:
        series: of checkpoints.
    """
    parts = {step.source: step for step in series.steps if step.ended < step.collected}
    return [
        f"{name} is not complete: {step.ended} of {counted(step.collected, 'claim')}" for name, step in parts.items()
    ]


def labels_of(series: Series) -> list[str]:
    """Returns the labels of the steps; without the model's name where all are revisions of one.

    Args:
        series: of checkpoints.
    """
    labels = [line(step.label, 60) for step in series.steps]
    models = {label.partition("@")[0] for label in labels}
    return (
        [label.partition("@")[2] for label in labels] if len(models) == 1 and all("@" in x for x in labels) else labels
    )


def _wrapped(text: str) -> list[str]:
    return wrapped(text, WIDTH, rest="  ", limit=10_000)


def _counts(series: Series, claims: Sequence[ClaimSeries]) -> str:
    """Returns how many claims are supported at each step."""
    return " ".join(str(sum(place in claim.supported for claim in claims)) for place in range(len(series.steps)))


def _shares(values: Sequence[float | None]) -> str:
    return " ".join("none" if value is None else f"{value:.2f}" for value in values)


def letters(claim: ClaimSeries) -> str:
    """Returns a letter for the outcome at each step.

    Args:
        claim: over the steps.
    """
    return "".join("." if word is None else LETTERS.get(word, "!") for word in claim.words)


def _claim(series: Series, claim: ClaimSeries) -> list[str]:
    """Returns the lines of one claim: its outcomes and name, then its number and what came of it."""
    text = letters(claim)
    if len(text) <= MOST_VALUES:
        heading = wrapped(claim.name, WIDTH, f"  {text}  ", " " * (len(text) + 4))
    else:
        heading = [*wrapped(claim.name, WIDTH, "  ", "    "), *wrapped(text, WIDTH, "    ", "    ", limit=10_000)]
    numbers = [f"{_values(number)} ({number.bound})" for number in claim.numbers[:1]]
    return heading + wrapped("; ".join([*numbers, *events(series, claim)]), WIDTH, "    ", "      ", limit=10_000)


def _values(number: Number) -> str:
    """Returns the values of a number by step; of a long series the first, last, smallest and largest."""
    if len(number.values) <= MOST_VALUES:
        texts = ["none" if value is None else f"{value:.3g}" for value in number.values]
        return f"{number.quantity} {' '.join(texts)}"
    values = [value for value in number.values if value is not None]
    ends = f"{values[0]:.3g} to {values[-1]:.3g}, within [{min(values):.3g}, {max(values):.3g}]"
    return f"{number.quantity} {ends}"


def events(series: Series, claim: ClaimSeries) -> list[str]:
    """Returns what became of a claim: emergence or loss, dips, reversals, change rate.

    Args:
        series: of checkpoints.
        claim: over the steps.
    """
    labels = labels_of(series)
    fate = _fate(claim)
    if fate == "emerging" and claim.emergence is not None:
        fate = f"from {labels[claim.emergence]} on"
    elif fate == "lost by the end":
        fate = f"lost after {labels[max(claim.supported)]}"
    texts = [fate]
    texts += [f"dip at {labels[first]}" + f" to {labels[last]}" * (last > first) for first, last in claim.dips]
    texts += [f"reversed at {', '.join(labels[place] for place in claim.reversals)}"] if claim.reversals else []
    return texts + ([f"change {claim.change:.2f}"] if claim.change is not None else [])


# ---- Markdown and JSON


def markdown(series: Series) -> str:
    """Returns the series as Markdown: a sentence, the steps, a table of claims, a table of steps.

    Args:
        series: of checkpoints.

    Returns:
        GitHub's Markdown, with a newline at its end.
    """
    labels = labels_of(series)
    parts = [f"**{cell(summary(series))}**", ""]
    parts += [f"- {cell(text)}" for text in [*incomplete(series), *series.causes, LEGEND]]
    rows = [["role", "claim", "outcomes", "number", *map(cell, labels), "what became of it"]]
    for claim in series.claims:
        number = claim.numbers[0] if claim.numbers else None
        values = ["" if value is None else f"{value:.3g}" for value in number.values] if number else [""] * len(labels)
        named = f"{number.quantity} ({number.unit}), {number.bound}" if number else ""
        fate = cell("; ".join(events(series, claim)))
        rows.append([cell(claim.role), cell(claim.name), f"`{letters(claim)}`", cell(named), *values, fate])
    parts += ["", *_table(rows), ""]
    counts = _counts(series, series.claims).split()
    rows = [
        ["step", "supported claims", "Jaccard with the step before", f"Jaccard with {cell(labels[series.reference])}"]
    ]
    for label, count, *shares in zip(labels, counts, series.adjacent, series.to_reference, strict=True):
        rows.append([cell(label), count, *("" if share is None else f"{share:.2f}" for share in shares)])
    return "\n".join([*parts, *_table(rows)]) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    header, *others = rows
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *others)]


def table(series: Series) -> dict[str, Any]:
    """Returns the series as a table of JSON.

    Args:
        series: of checkpoints.

    Returns:
        ``steps``, ``reference``, ``changed`` (what differs beside the weights) and ``claims``. A step is named by its
        label.
    """
    labels = [step.label for step in series.steps]
    return {
        "steps": [
            {
                "step": step.label,
                "checkpoint": step.checkpoint,
                "ledger": step.source,
                "complete": step.ended >= step.collected,
                "supported": sum(place in claim.supported for claim in series.claims),
                "jaccard_before": series.adjacent[place],
                "jaccard_reference": series.to_reference[place],
            }
            for place, step in enumerate(series.steps)
        ],
        "reference": labels[series.reference],
        "changed": list(series.causes),
        "claims": [
            {
                "claim": claim.name,
                "role": claim.role or None,
                "statement": claim.statement,
                "outcomes": list(claim.words),
                "emergence": None if claim.emergence is None else labels[claim.emergence],
                "dips": [[labels[first], labels[last]] for first, last in claim.dips],
                "reversals": [labels[place] for place in claim.reversals],
                "numbers": [
                    {
                        "subject": number.subject,
                        "quantity": number.quantity,
                        "unit": number.unit,
                        "bound": number.bound,
                        "values": list(number.values),
                        "intervals": list(number.intervals),
                        "change": number.change,
                    }
                    for number in claim.numbers
                ],
            }
            for claim in series.claims
        ],
    }
