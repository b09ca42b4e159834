"""Coordinates of the tested paths in the drawing of a circuit: curves between heads, and a numbered mark on each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from pytest_interp.report.page.paths import JudgedPath

LOGITS = "logits"
"""Name of the lane and of the node at the end of all paths into the logits."""
HALF_WIDTH, HALF_HEIGHT = 18.0, 9.0
"""Half of the width and of the height of a head."""
MARK_WIDTH, MARK_HEIGHT = 12.0, 7.5
"""The same of the mark of a path."""
ARROW = 6.0
"""Length of an arrowhead."""
STEP = 3.0
"""Steps in which a mark gives way to what stands in its place."""


@dataclass(frozen=True)
class Node:
    """A head in the drawing.

    Attributes:
        head: such as ``9.9``.
        x: coordinate of its middle, from left to right.
        y: from the top.
        word: what its claims say: ``holds``, ``not all hold`` or ``no claim``.
        label: the same with numbers.
        outside: whether the circuit file puts it outside of the circuit.
    """

    head: str
    x: float
    y: float
    word: str
    label: str
    outside: bool = False


@dataclass(frozen=True)
class Lane:
    """A role.

    Attributes:
        name: of the role.
        does: two lines: where it acts, and what it reads and writes there.
        top: coordinate of its upper end.
        height: of the lane.
        nodes: its heads.
    """

    name: str
    does: tuple[str, str]
    top: float
    height: float
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Edge:
    """A tested path in the drawing.

    Attributes:
        number: of the path, from 1; its mark has it, and so has its row in the table.
        path: what was tested.
        curves: the coordinates of the curves from the senders to the mark and on to the receivers, as SVG has them.
        arrows: the same of the arrowheads.
        x: coordinate of the middle of the mark.
        y: from the top.
    """

    number: int
    path: JudgedPath
    curves: str
    arrows: str
    x: float
    y: float

    @property
    def mark(self) -> str:
        """The text of the mark: its number, and the input of the receivers."""
        return f"{self.number} {self.path.into}".rstrip()


def edges_of(paths: Sequence[JudgedPath], lanes: Sequence[Lane], height: float) -> tuple[Edge, ...]:
    """Returns the drawing of paths between the heads of lanes.

    Senders are those of the lane whose role the claim is about, receivers those of a lane that has all of them, as far
    as there is such a lane. A mark gives way upwards or downwards to heads and to other marks.

    Args:
        paths: whose heads stand in the lanes, and the logits where a path leads there.
        lanes: of the drawing.
        height: of all lanes.
    """
    taken = [(node.x, node.y, HALF_WIDTH, HALF_HEIGHT) for lane in lanes for node in lane.nodes]
    edges = []
    for number, path in enumerate(paths, 1):
        senders = _nodes(map(str, path.senders), lanes, path.claim.outcome.claim.role)
        receivers = _nodes(map(str, path.receivers) if path.receivers else [LOGITS], lanes, None)
        x = (max(node.x for node in senders) + min(node.x for node in receivers)) / 2
        y = (_middle(senders) + _middle(receivers)) / 2
        y = _free(x, y, taken, height)
        taken.append((x, y, MARK_WIDTH, MARK_HEIGHT))
        into = [_curve(node.x + HALF_WIDTH, node.y, x - MARK_WIDTH, y) for node in senders]
        out = [_curve(x + MARK_WIDTH, y, node.x - HALF_WIDTH - ARROW, node.y) for node in receivers]
        arrows = " ".join(_arrow(node.x - HALF_WIDTH, node.y) for node in receivers)
        edges.append(Edge(number, path, " ".join([*into, *out]), arrows, round(x, 1), round(y, 1)))
    return tuple(edges)


def _nodes(heads: Iterable[str], lanes: Sequence[Lane], role: str | None) -> list[Node]:
    """Returns the node of each head in the lane that fits best.

    That is the lane of the role, else one with exactly these heads, else one with all of them, else the first with it.
    """
    wanted = set(heads)

    def misfit(lane: Lane) -> tuple[bool, bool, bool]:
        names = {node.head for node in lane.nodes}
        return lane.name != role, names != wanted, not wanted <= names

    by_head: dict[str, Node] = {}
    for lane in sorted(lanes, key=misfit):
        for node in lane.nodes:
            by_head.setdefault(node.head, node)
    return [by_head[head] for head in sorted(wanted)]


def _middle(nodes: Sequence[Node]) -> float:
    """Returns the mean height of nodes."""
    return sum(node.y for node in nodes) / len(nodes)


def _free(x: float, y: float, taken: Collection[tuple[float, float, float, float]], height: float) -> float:
    """Returns the height nearest to ``y`` at which a mark covers nothing; ``y`` where there is none."""

    def covers(at: float) -> bool:
        return any(
            abs(x - other_x) < half_width + MARK_WIDTH + 1 and abs(at - other_y) < half_height + MARK_HEIGHT + 1
            for other_x, other_y, half_width, half_height in taken
        )

    steps = chain.from_iterable((y + STEP * step, y - STEP * step) for step in range(int(height / STEP) + 1))
    inside = (at for at in steps if MARK_HEIGHT <= at <= height - MARK_HEIGHT)
    return next((at for at in inside if not covers(at)), y)


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    """Returns a curve that leaves and arrives horizontally."""
    bend = max(abs(to_x - x) / 2, ARROW)
    return f"M{x:.1f} {y:.1f}C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"


def _arrow(x: float, y: float) -> str:
    """Returns an arrowhead that ends at a point."""
    return f"M{x - ARROW:.1f} {y - 3.5:.1f}L{x:.1f} {y:.1f}L{x - ARROW:.1f} {y + 3.5:.1f}Z"
