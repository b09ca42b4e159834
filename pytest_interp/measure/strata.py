"""A measurement part by part: by template, by order of names, by any tag of the prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table
from pytest_interp.text import counted, shown

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment


@checked
def by_part(experiment: Experiment, measurement: Measurement, part: str) -> Table[Any]:
    """A measurement of an experiment's prompts, in parts: a cell for each template, or each value of a tag.

    Within one template prompts differ by their names, so there the pairs of names are what an interval counts.

    Args:
        experiment: what was measured.
        measurement: one value for each of its prompts.
        part: ``template``, or a tag such as ``order``, ``IO`` or ``S``.

    Returns:
        A table with a row for each template or tag value and one column, the quantity; the unit is the measurement's.

    Raises:
        UsageError: no such tag, or a measurement of something else than these prompts.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> from pytest_interp.measure import logit_diff
        >>> table = by_part(experiment, logit_diff(experiment), "order")
        >>> {order: round(part.value, 2) for (order, _), part in table.items()}
        {'ABBA': 8.85, 'BABA': 8.85}
    """
    prompts = experiment.data.clean.prompts
    if len(measurement.values) != len(prompts):
        raise UsageError(
            f"{measurement.quantity} has {counted(len(measurement.values), 'value')}, {experiment.data.name} has "
            f"{counted(len(prompts), 'prompt')}; pass a measurement of this experiment"
        )
    values = [prompt.template if part == "template" else prompt.tags.get(part, "") for prompt in prompts]
    if "" in values:
        known = sorted({"template", *(key for prompt in prompts for key in prompt.tags)})
        raise UsageError(f"not every prompt of {experiment.data.name} has {shown(part)}; allowed: {', '.join(known)}")
    cells: dict[Any, Measurement] = {}
    for value in dict.fromkeys(values):
        rows = [row for row, other in enumerate(values) if other == value]
        of_part = measurement.of_rows(rows)
        if part == "template":
            pairs = of_part.names or tuple((label,) for label in of_part.labels)
            of_part = replace(of_part, sample=replace(of_part.sample, clusters=tuple(" ".join(pair) for pair in pairs)))
        context = of_part.context.noting(part=value)
        data = context.data and replace(context.data, n=len(rows))
        cells[value, measurement.quantity] = replace(of_part, context=replace(context, data=data))
    return Table(cells, (part, "quantity"))
