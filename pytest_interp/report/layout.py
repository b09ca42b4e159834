"""Names of claims and checkpoints for tables that are grouped by checkpoint, and the width of these tables."""

from __future__ import annotations

from pytest_interp.text import line, wrapped

WIDTH = 79
"""Columns of a table."""
SHORT = 60
"""Characters beyond which the name of a checkpoint is shortened."""


def short(claim: str, checkpoint: str) -> str:
    """Returns the name of a claim without its checkpoint: the function, then heads and parameters.

    Args:
        claim: pytest's name of the test, such as ``test_copies[gpt2-9.9]``.
        checkpoint: its name, which the table shows already.

    Returns:
        One line, such as ``test_copies 9.9``.
    """
    function, _, parameters = claim.partition("[")
    return line(f"{function} {parameters.removesuffix(']').replace(checkpoint, '').strip('-')}".rstrip())


def headed(checkpoint: str, text: str) -> list[str]:
    """Returns the heading of a checkpoint in a table, wrapped with an indent of two columns.

    Args:
        checkpoint: its name.
        text: what stands after the name.

    Returns:
        Lines of at most 79 columns.
    """
    return wrapped(f"{line(checkpoint, SHORT)}: {text}", WIDTH, rest="  ")
