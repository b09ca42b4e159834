"""A circuit as a drawing: a lane for each role, its heads from the first layer to the last, and the tested paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_interp.circuit import Circuit, Role
from pytest_interp.circuit_file import read_circuit
from pytest_interp.errors import InterpError
from pytest_interp.heads import Head
from pytest_interp.ledger.ledger import RecordedCheckpoint
from pytest_interp.report.page.claims import ClaimView
from pytest_interp.report.page.edges import LOGITS, Edge, Lane, Node, edges_of
from pytest_interp.report.page.paths import MOST_PATHS, JudgedPath, paths_of
from pytest_interp.text import counted

LAYER, LABEL = 68.0, 210.0
"""Width of a layer, and width of the names of roles, in the units of the drawing."""
STACKED = 22.0
"""Height of a head in a lane."""
CAPTION = 38.0
"""Height of the name of a role, with two lines below it."""


@dataclass(frozen=True)
class CircuitDrawing:
    """The circuit of a checkpoint.

    Attributes:
        checkpoint: the name of the checkpoint.
        lanes: its roles; then by layer the heads of tested paths that have none, and the logits, where there are any.
        edges: the tested paths between heads.
        edges_left_out: how many there are beside them.
        layers: the layers that are named below the lanes, with their coordinate.
        width: of the drawing.
        height: of the drawing.
    """

    checkpoint: str
    lanes: tuple[Lane, ...]
    edges: tuple[Edge, ...]
    edges_left_out: int
    layers: tuple[tuple[int, float], ...]
    width: float
    height: float


def circuit_of(checkpoint: RecordedCheckpoint, claims: Sequence[ClaimView]) -> CircuitDrawing | None:
    """Returns the drawing of a checkpoint's circuit; None without a circuit file that can be read and without paths.

    Args:
        checkpoint: with the text of its circuit file.
        claims: of the page.
    """
    mine = [claim for claim in claims if claim.outcome.checkpoint == checkpoint.name]
    paths = paths_of(mine)
    drawn = sorted(paths[:MOST_PATHS], key=lambda path: (path.senders, not path.receivers, path.receivers))
    circuit = _read(checkpoint.circuit)
    roles = _roles(circuit)
    if not roles and not drawn:
        return None
    strangers = _ends(drawn) - {head for role in roles for head in role.heads}
    heads = strangers.union(*(role.heads for role in roles))
    layers = sorted({head.layer for head in heads})
    places = {layer: LABEL + LAYER * (rank + 0.5) for rank, layer in enumerate(layers)}
    top, lanes = 0.0, []
    for role in roles:
        of_role = [claim for claim in mine if claim.outcome.claim.role == role.name]
        outside = circuit.outside if circuit is not None and role.name in circuit.roles else ()
        lanes.append(_lane(role.name, _does(role), role.heads, top, places, of_role, outside))
        top += lanes[-1].height
    for layer in sorted({head.layer for head in strangers}):
        heads_here = {head for head in strangers if head.layer == layer}
        lanes.append(_lane("no role", (f"layer {layer}", ""), heads_here, top, places, ()))
        top += lanes[-1].height
    width = LABEL + LAYER * len(layers)
    if any(not path.receivers for path in drawn):
        logits = Node(LOGITS, width + LAYER / 2, round(top + STACKED * 0.7, 1), "no claim", "the logits")
        lanes.append(Lane(LOGITS, ("at END", ""), top, CAPTION + 8, (logits,)))
        top, width = top + lanes[-1].height, width + LAYER
    edges = edges_of(drawn, lanes, top)
    return CircuitDrawing(
        checkpoint.name, tuple(lanes), edges, len(paths) - len(drawn), tuple(places.items()), width, top + STACKED
    )


def _read(circuit: str) -> Circuit | None:
    """Returns the circuit in the text of a circuit file; None where it cannot be read."""
    if not circuit:
        return None
    try:
        return read_circuit(circuit, Path("circuit.toml"))
    except InterpError:  # of another version
        return None


def _roles(circuit: Circuit | None) -> list[Role]:
    """Returns the roles of a circuit, from the first layer to the last."""
    sections = circuit.sections if circuit is not None else {}
    return sorted(sections.values(), key=lambda role: min(head.layer for head in role.heads))


def _does(role: Role) -> tuple[str, str]:
    """Returns two lines: where a role acts, and what it reads and writes there."""
    writes = f"{'writes' if role.sign > 0 else 'writes against'} {role.writes}" if role.writes else ""
    return f"at {role.at}", ", ".join(filter(None, (f"reads {role.reads}" if role.reads else "", writes)))


def _ends(paths: Sequence[JudgedPath]) -> set[Head]:
    """Returns the heads at the ends of paths."""
    return {head for path in paths for head in (*path.senders, *path.receivers)}


def _lane(
    name: str,
    does: tuple[str, str],
    heads: Iterable[Head],
    top: float,
    places: dict[int, float],
    claims: Sequence[ClaimView],
    outside: Sequence[Head] = (),
) -> Lane:
    """Returns a lane with its heads, and what claims about it say of each."""
    stacks: Counter[int] = Counter()
    nodes = []
    for head in sorted(heads):
        y = top + STACKED * (0.7 + stacks[head.layer])
        stacks[head.layer] += 1
        nodes.append(_node(head, places[head.layer], y, claims, outside=head in outside))
    return Lane(name, does, top, max(CAPTION + 8, STACKED * max(stacks.values()) + 8), tuple(nodes))


def _node(head: Head, x: float, y: float, claims: Sequence[ClaimView], *, outside: bool) -> Node:
    """Returns a head with what the claims of its role about it alone say."""
    about = [claim for claim in claims if claim.heads == str(head)]
    judged = [claim for claim in about if claim.finding != "not applicable"]
    holding = sum(claim.finding == "supported" for claim in judged)
    word = "no claim" if not judged else "holds" if holding == len(judged) else "not all hold"
    hold = f"{holding} of {counted(len(judged), 'claim')} hold{'s' * (holding == 1)}"
    label = f"{head}{', outside of the circuit' if outside else ''}: {hold if judged else 'no claim about it alone'}"
    return Node(str(head), x, round(y, 1), word, label, outside)
