"""What a table that is by checkpoint already calls a claim."""

from __future__ import annotations


def short(claim: str, checkpoint: str) -> str:
    """A claim's function and what is left of its id's brackets: heads and parameters, without the checkpoint."""
    function, _, rest = claim.partition("[")
    return f"{function} {rest.removesuffix(']').replace(checkpoint, '').strip('-')}".rstrip()
