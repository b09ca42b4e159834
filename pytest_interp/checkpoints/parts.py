"""The parts of a model, as one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_interp.checkpoints.forward import Forward
    from pytest_interp.checkpoints.shape import Shape
    from pytest_interp.checkpoints.sites import Sites
    from pytest_interp.checkpoints.weights import Weights


class Parts(NamedTuple):
    """What a model is asked through.

    Attributes:
        sites: the names of its hook points.
        weights: its weights, by head.
        forward: its forward passes.
        shape: its sizes.
        precision: what its float noise follows from.
    """

    sites: Sites
    weights: Weights
    forward: Forward
    shape: Shape
    precision: str
