"""The parts of a model, as one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_interp.checkpoints.forward import Forward
    from pytest_interp.checkpoints.shape import Shape
    from pytest_interp.checkpoints.sites import Sites
    from pytest_interp.checkpoints.weights import Weights


class Parts(NamedTuple):
    """The parts through which a model is used.

    Attributes:
        sites: the names of its hook points.
        weights: its weights, by head.
        forward: its forward passes.
        shape: how many layers, heads and dimensions it has.
        precision: what decides on its float noise, such as ``float32``.
    """

    sites: Sites
    weights: Weights
    forward: Forward
    shape: Shape
    precision: str
