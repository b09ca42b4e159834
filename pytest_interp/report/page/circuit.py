"""A circuit as a drawing: a lane for each role, its heads from the first layer to the last, with what claims say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_interp.circuit import Role
from pytest_interp.circuit_file import read_circuit
from pytest_interp.errors import InterpError
from pytest_interp.heads import Head
from pytest_interp.ledger.ledger import RecordedCheckpoint
from pytest_interp.report.page.claims import ClaimView

LAYER, LABEL = 46.0, 290.0
"""Width of a layer, and width of the names of roles, in the units of the drawing."""
STACKED = 22.0
"""Height of a head in a lane."""
CAPTION = 30.0
"""Height of the name of a role."""


@dataclass(frozen=True)
class Node:
    """A head in the drawing.

    Attributes:
        head: such as ``9.9``.
        x: coordinate of its middle, from left to right.
        y: from the top.
        word: what its claims say: ``holds``, ``not all hold`` or ``no claim``.
        label: the same with numbers.
    """

    head: str
    x: float
    y: float
    word: str
    label: str


@dataclass(frozen=True)
class Lane:
    """A role.

    Attributes:
        name: of the role.
        does: where it acts, what it reads and writes.
        top: coordinate of its upper end.
        height: of the lane.
        nodes: its heads.
    """

    name: str
    does: str
    top: float
    height: float
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class CircuitDrawing:
    """The circuit of a checkpoint.

    Attributes:
        checkpoint: the name of the checkpoint.
        lanes: its roles.
        layers: the layers that are named below the lanes, with their coordinate.
        width: of the drawing.
        height: of the drawing.
    """

    checkpoint: str
    lanes: tuple[Lane, ...]
    layers: tuple[tuple[int, float], ...]
    width: float
    height: float


def circuit_of(checkpoint: RecordedCheckpoint, claims: Sequence[ClaimView]) -> CircuitDrawing | None:
    """Returns the drawing of a checkpoint's circuit; None where the ledger has no circuit file that can be read.

    Args:
        checkpoint: with the text of its circuit file.
        claims: of the page.
    """
    if not checkpoint.circuit:
        return None
    try:
        circuit = read_circuit(checkpoint.circuit, Path("circuit.toml"))
    except InterpError:  # of another version
        return None
    mine = [claim for claim in claims if claim.outcome.checkpoint == checkpoint.name]
    roles = sorted(circuit.sections.values(), key=lambda role: min(head.layer for head in role.heads))
    layers = sorted({head.layer for role in roles for head in role.heads})
    places = {layer: LABEL + LAYER * (rank + 0.5) for rank, layer in enumerate(layers)}
    top, lanes = 0.0, []
    for role in roles:
        lanes.append(_lane(role, top, places, [claim for claim in mine if claim.outcome.claim.role == role.name]))
        top += lanes[-1].height
    return CircuitDrawing(
        checkpoint.name, tuple(lanes), tuple(places.items()), max(places.values()) + LAYER / 2, top + STACKED
    )


def _lane(role: Role, top: float, places: dict[int, float], claims: Sequence[ClaimView]) -> Lane:
    stacks: Counter[int] = Counter()
    nodes = []
    for head in sorted(role.heads):
        y = top + STACKED * (0.7 + stacks[head.layer])
        stacks[head.layer] += 1
        nodes.append(_node(head, places[head.layer], y, claims))
    does = f"at {role.at}" + (f", reads {role.reads}" if role.reads else "")
    does += f", {'writes' if role.sign > 0 else 'writes against'} {role.writes}" if role.writes else ""
    return Lane(role.name, does, top, max(CAPTION + 8, STACKED * max(stacks.values()) + 8), tuple(nodes))


def _node(head: Head, x: float, y: float, claims: Sequence[ClaimView]) -> Node:
    """Returns a head with what the claims of its role about it alone say."""
    about = [claim for claim in claims if claim.heads == str(head)]
    judged = [claim for claim in about if claim.finding != "not applicable"]
    holding = sum(claim.finding == "supported" for claim in judged)
    word = "no claim" if not judged else "holds" if holding == len(judged) else "not all hold"
    label = f"{head}: {holding} of {len(judged)} claims hold" if judged else f"{head}: no claim about it alone"
    return Node(str(head), x, round(y, 1), word, label)
