"""Words that the subjects of claims share: the model and its prompts, positions, value biases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks.positions import At


def place_of(experiment: Experiment, run: str = "clean") -> str:
    """The names of the checkpoint and the data set, and of the run where it is a corrupted one.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.

    Returns:
        The names, separated by commas.
    """
    place = f"{experiment.checkpoint.name}, {experiment.data.name}"
    return place if run == "clean" else f"{place}, run {run}"


def position_text(at: At) -> str:
    """The name of a position, or of several.

    Args:
        at: a named position, an index, several; None for all.

    Returns:
        Names and indices separated by commas; ``all positions``.
    """
    return "all positions" if at is None else str(at) if isinstance(at, str | int) else ", ".join(map(str, at))


def bias_text(value_bias: str, default: str) -> str:
    """What a subject says of the value bias where it is not as by default.

    Args:
        value_bias: ``kept`` or ``removed``.
        default: the measurement's default.

    Returns:
        Text with a leading comma; empty for the default.
    """
    return "" if value_bias == default else f", value bias {value_bias}"
