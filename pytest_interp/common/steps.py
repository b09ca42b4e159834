"""The training step in the name of a checkpoint, and the order of steps."""

from __future__ import annotations

import re
from collections.abc import Sequence

_AT_END = re.compile(r"(\d+(?:\.\d+)?)$")
_NAMED = re.compile(r"(?:step|checkpoint|epoch|ckpt|iter)[-_]?(\d+(?:\.\d+)?)", re.IGNORECASE)


def step_of(name: str) -> float | None:
    """Returns the training step that a name states.

    Args:
        name: of a checkpoint, with its revision after ``@`` if it has one, or of a folder.

    Returns:
        The number at the end of the revision (of the name, without a revision), else the number after ``step``,
        ``checkpoint``, ``epoch``, ``ckpt`` or ``iter``; None where there is neither.

    Example:
        >>> step_of("gpt2@step1000"), step_of("checkpoint-200"), step_of("olmo@step500-tokens2B"), step_of("mine")
        (1000.0, 200.0, 500.0, None)
    """
    label = name.rpartition("@")[2]
    match = _AT_END.search(label) or _NAMED.search(label)
    return None if match is None else float(match[1])


def ordered(names: Sequence[str]) -> list[int] | None:
    """Returns the places of names in the order of their steps.

    Args:
        names: of checkpoints.

    Returns:
        Indices into ``names``; None where a name states no step, or two state the same.

    Example:
        >>> ordered(["step1000", "step200"]), ordered(["mine", "step200"])
        ([1, 0], None)
    """
    steps = [step_of(name) for name in names]
    numbers = [step for step in steps if step is not None]
    if len(set(numbers)) < len(names):
        return None
    return sorted(range(len(names)), key=lambda place: numbers[place])
