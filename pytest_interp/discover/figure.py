"""The figure of a proposed circuit: heads by layer and position, the paths that act as arrows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_interp.common.canvas import BLUE, GREY, INK, RED, canvas, require_matplotlib
from pytest_interp.discover.paths import Edge
from pytest_interp.discover.proposal import Proposal
from pytest_interp.discover.roles import UNNAMED, Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOGITS = "logits"
_STEP = 0.22
"""The distance between two heads of one layer and position, in columns."""


def circuit_figure(proposal: Proposal) -> Figure:
    """Returns the circuit as a figure: a column for each position, a row for each layer.

    Heads with a role are filled; heads that are ``unnamed`` are not. An arrow goes from a head to each head, or to the
    logits, on which it acts: blue where that helps the task, red where it does not.

    Args:
        proposal: with roles; paths are drawn where they were tested.

    Raises:
        MatplotlibMissing: matplotlib is not installed.
    """
    require_matplotlib()
    assert proposal.roles is not None
    places = _coordinates(proposal)
    names = _columns(proposal)
    layers = proposal.finding.checkpoint.shape.n_layers
    figure, axes = canvas(2 + 1.9 * len(names), 7)
    for edge in proposal.edges or ():
        if edge.acts:
            _arrows(axes, places, proposal, edge)
    for reading in proposal.roles.all:
        x, y = places[str(reading.place)]
        colour = GREY if reading.role == UNNAMED else INK
        axes.plot([x], [y], "o", ms=15, mfc="white" if reading.role == UNNAMED else "#e8eef2", mec=colour)
        axes.annotate(str(reading.place.head), (x, y), ha="center", va="center", fontsize=6.5, color=INK)
    axes.annotate(LOGITS, places[LOGITS], ha="center", va="bottom", color=INK)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(-1, layers + 1.5)
    axes.set_ylabel("layer")
    axes.set_title(f"{proposal.finding.checkpoint.name}, {proposal.task}: paths that act", fontsize=10, color=INK)
    return figure


def _columns(proposal: Proposal) -> list[str]:
    """The positions in the order of the text."""
    group = proposal.finding.data.clean.groups[0]
    return sorted(group.positions, key=lambda name: float(group.positions[name].float().mean()))


def _coordinates(proposal: Proposal) -> dict[str, tuple[float, float]]:
    """Where each head and the logits are drawn; heads of one layer and position stand side by side."""
    assert proposal.roles is not None
    names = _columns(proposal)
    cells: dict[tuple[str, int], list[Reading]] = {}
    for reading in proposal.roles.all:
        cells.setdefault((reading.place.at, reading.place.head.layer), []).append(reading)
    places: dict[str, tuple[float, float]] = {
        LOGITS: (float(names.index("END")), proposal.finding.checkpoint.shape.n_layers + 0.3)
    }
    for (at, layer), readings in cells.items():
        for number, reading in enumerate(sorted(readings, key=lambda reading: reading.place)):
            shift = _STEP * (number - (len(readings) - 1) / 2)
            places[str(reading.place)] = names.index(at) + shift, float(layer)
    return places


def _arrows(axes: Axes, places: Mapping[str, tuple[float, float]], proposal: Proposal, edge: Edge) -> None:
    """The arrows of a path: from its sender, where it is kept, to each receiver."""
    assert proposal.roles is not None
    starts = [r for r in proposal.roles.all if r.place.head == edge.sender and r.place.at == edge.target.at]
    ends = [
        str(r.place)
        for r in proposal.roles.all
        if r.place.head in edge.target.heads and r.role == edge.target.name and r.place.head.layer > edge.sender.layer
    ]
    style: dict[str, Any] = {
        "arrowstyle": "-|>", "color": BLUE if edge.effect.value < 0 else RED, "lw": 0.8, "alpha": 0.6,
        "shrinkA": 8, "shrinkB": 8,
    }  # fmt: skip
    for start in starts:
        for end in ends or ([LOGITS] if edge.target.into is None else []):
            axes.annotate("", xy=places[end], xytext=places[str(start.place)], arrowprops=style)
