"""The figure of a proposed circuit: heads by layer and position, the paths that act as arrows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_interp.common.canvas import BLUE, GREY, INK, RED, canvas, require_matplotlib
from pytest_interp.discover.paths import Edge
from pytest_interp.discover.proposal import Proposal
from pytest_interp.discover.roles import UNNAMED, Reading
from pytest_interp.tasks.positions import END

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOGITS = "logits"
_STEP = 0.22
"""The distance between two heads of one layer and position, in columns."""


def circuit_figure(proposal: Proposal) -> Figure:
    """Returns the circuit as a figure: a column for each position, a row for each layer, of those that have a head.

    Heads with a role are filled; heads that are ``unnamed`` are not. An arrow goes from a head to each head, or to the
    logits, on which it acts: blue where that helps the task, red where it does not, the wider the more.

    Args:
        proposal: with roles; paths are drawn where they were tested.

    Raises:
        MatplotlibMissing: matplotlib is not installed.
    """
    require_matplotlib()
    assert proposal.roles is not None
    places = _coordinates(proposal)
    names = _columns(proposal)
    layers = _layers(proposal)
    figure, axes = canvas(2 + 2.6 * len(names), 1.2 + 0.5 * len(layers))
    acting = [edge for edge in proposal.edges or () if edge.acts]
    largest = max((abs(edge.effect.value) for edge in acting), default=1.0)
    for edge in sorted(acting, key=lambda edge: abs(edge.effect.value)):
        _arrows(axes, places, proposal, edge, abs(edge.effect.value) / largest)
    for reading in proposal.roles.all:
        x, y = places[str(reading.place)]
        colour = GREY if reading.role == UNNAMED else INK
        axes.plot([x], [y], "o", ms=17, mfc="white" if reading.role == UNNAMED else "#e8eef2", mec=colour, zorder=3)
        axes.annotate(str(reading.place.head), (x, y), ha="center", va="center", fontsize=6.5, color=INK, zorder=4)
    axes.annotate(LOGITS, places[LOGITS], ha="center", va="bottom", color=INK)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_yticks(range(len(layers)), list(map(str, layers)))
    axes.set_ylim(-0.8, len(layers) + 0.6)
    axes.set_ylabel("layer")
    title = f"{proposal.finding.checkpoint.name}, {proposal.task}: paths that act, blue for the task, red against it"
    axes.set_title(title, fontsize=10, color=INK)
    return figure


def _columns(proposal: Proposal) -> list[str]:
    """The positions that have a head, and END, in the order of the text."""
    assert proposal.roles is not None
    positions = proposal.finding.data.clean.groups[0].positions
    names = {reading.place.at for reading in proposal.roles.all} | {END}
    return sorted(names, key=lambda name: float(positions[name].float().mean()))


def _layers(proposal: Proposal) -> list[int]:
    """The layers that have a head."""
    assert proposal.roles is not None
    return sorted({reading.place.head.layer for reading in proposal.roles.all})


def _coordinates(proposal: Proposal) -> dict[str, tuple[float, float]]:
    """Where each head and the logits are drawn; heads of one layer and position stand side by side."""
    assert proposal.roles is not None
    names, layers = _columns(proposal), _layers(proposal)
    cells: dict[tuple[str, int], list[Reading]] = {}
    for reading in proposal.roles.all:
        cells.setdefault((reading.place.at, reading.place.head.layer), []).append(reading)
    places: dict[str, tuple[float, float]] = {LOGITS: (float(names.index(END)), float(len(layers)))}
    for (at, layer), readings in cells.items():
        for number, reading in enumerate(sorted(readings, key=lambda reading: reading.place)):
            shift = _STEP * (number - (len(readings) - 1) / 2)
            places[str(reading.place)] = names.index(at) + shift, float(layers.index(layer))
    return places


def _arrows(
    axes: Axes, places: Mapping[str, tuple[float, float]], proposal: Proposal, edge: Edge, share: float
) -> None:
    """The arrows of a path, from its sender, where it is kept, to each receiver; as wide as its share of the largest.

    An arrow straight up over another head is bent, so that it passes beside it.
    """
    assert proposal.roles is not None
    starts = [r for r in proposal.roles.all if r.place.head == edge.sender and r.place.at == edge.target.at]
    ends = [
        str(r.place)
        for r in proposal.roles.all
        if r.place.head in edge.target.heads and r.role == edge.target.name and r.place.head.layer > edge.sender.layer
    ]
    style: dict[str, Any] = {
        "arrowstyle": "-|>", "color": BLUE if edge.effect.value < 0 else RED, "lw": 0.6 + 2.4 * share,
        "alpha": 0.35 + 0.5 * share, "shrinkA": 9, "shrinkB": 9,
    }  # fmt: skip
    for start in starts:
        for end in ends or ([LOGITS] if edge.target.into is None else []):
            (x, y), (left, below) = places[end], places[str(start.place)]
            bend = "arc3,rad=0.35" if x == left and y > below + 1 else "arc3"
            axes.annotate("", xy=(x, y), xytext=(left, below), arrowprops={**style, "connectionstyle": bend})
