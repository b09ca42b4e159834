"""What a table that is by checkpoint already calls a claim."""

from __future__ import annotations

from pytest_interp.text import line, wrapped

WIDTH = 79
SHORT = 60
"""Characters from which on the name of a checkpoint is shortened."""


def short(claim: str, checkpoint: str) -> str:
    """A claim's function and what is left of its id's brackets: heads and parameters, without the checkpoint."""
    function, _, rest = claim.partition("[")
    return line(f"{function} {rest.removesuffix(']').replace(checkpoint, '').strip('-')}".rstrip())


def headed(checkpoint: str, text: str) -> list[str]:
    """The first line of what is said of a checkpoint, and those that it goes on in."""
    return wrapped(f"{line(checkpoint, SHORT)}: {text}", WIDTH, rest="  ")
