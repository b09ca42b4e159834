"""What activation patching exchanges together: an activation of heads, or of a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pytest_interp.engine.contrast import place_of
from pytest_interp.engine.patch import HEAD_SITES, LAYER_SITES, Node
from pytest_interp.errors import UsageError, nearest
from pytest_interp.heads import Head, HeadLike, KVHead, as_heads, names_of
from pytest_interp.tasks.positions import At
from pytest_interp.text import shown

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment


def check_kv_head(checkpoint: Checkpoint, kv: KVHead) -> KVHead:
    """The key-value head, if the model has it.

    Args:
        checkpoint: the loaded model.
        kv: a key-value head.

    Returns:
        The same key-value head.

    Raises:
        UsageError: the model does not have it.
    """
    shape = checkpoint.shape
    if not (0 <= kv.layer < shape.n_layers and 0 <= kv.head < shape.n_kv_heads):
        raise UsageError(
            f"{checkpoint.name} has no {kv}: its layers are 0 to {shape.n_layers - 1}, "
            f"the key-value heads of each 0 to {shape.n_kv_heads - 1}"
        )
    return kv


def check_site(site: str, known: Sequence[str]) -> None:
    """Refuses a site that is not among those that can be exchanged.

    Args:
        site: an activation.
        known: the sites that are allowed.

    Raises:
        UsageError: another word.
    """
    if site not in known:
        raise UsageError(f"site is {shown(site)}; allowed: {', '.join(map(repr, known))}{nearest(site, known)}")


class PatchCell(NamedTuple):
    """What is exchanged together: an activation of heads, or of a layer.

    Attributes:
        nodes: the places.
        site: the activation.
        heads: whose it is; None for a layer.
        at: the positions.
        layer: whose it is; None for heads.
        kv_heads: for each exchanged key-value head that is shared the query heads that read it.
    """

    nodes: tuple[Node, ...]
    site: str
    heads: tuple[Head | KVHead, ...] | None
    at: At
    layer: int | None = None
    kv_heads: Mapping[KVHead, tuple[Head, ...]] = MappingProxyType({})


def heads_cell(experiment: Experiment, heads: HeadLike | KVHead | Iterable[HeadLike], site: str, at: At) -> PatchCell:
    """The cell of an activation of heads.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several, or a key-value head.
        site: an activation of heads.
        at: the positions.

    Returns:
        The cell. For k and v of shared key-value heads its nodes are those heads, with the query heads that read them.

    Raises:
        UsageError: an unknown site or head; a key-value head with a site that it lacks.
    """
    check_site(site, HEAD_SITES)
    checkpoint = experiment.checkpoint
    cell_heads: tuple[Head | KVHead, ...]
    if isinstance(heads, KVHead):
        kv_heads = [check_kv_head(checkpoint, heads)]
        if site not in ("k", "v"):
            raise UsageError(f"{heads} is a key-value head; it has k and v, no {site}: pass a query head")
        cell_heads = (heads,)
    else:
        checked = [checkpoint.check_head(head) for head in as_heads(heads)]
        kv_heads = sorted({checkpoint.kv_head(head) for head in checked})
        cell_heads = tuple(checked)
        if site not in ("k", "v"):
            nodes = tuple(Node(site, head.layer, head.head, at) for head in checked)
            return PatchCell(nodes, site, cell_heads, at)
    shared = checkpoint.shape.n_kv_heads < checkpoint.shape.n_heads
    readers = {kv: tuple(checkpoint.sharers(kv)) for kv in kv_heads} if shared else {}
    nodes = tuple(Node(site, kv.layer, kv.head, at) for kv in kv_heads)
    return PatchCell(nodes, site, cell_heads, at, kv_heads=readers)


def layer_cell(experiment: Experiment, site: str, layer: int, at: At) -> PatchCell:
    """The cell of a layer's residual stream or output.

    Args:
        experiment: checkpoint and data set.
        site: an activation of a layer.
        layer: from 0.
        at: the positions.

    Returns:
        The cell, of one node.

    Raises:
        UsageError: an unknown site or layer.
    """
    check_site(site, LAYER_SITES)
    last = experiment.checkpoint.shape.n_layers - 1
    if not 0 <= layer <= last:
        raise UsageError(f"{experiment.checkpoint.name} has no layer {layer}: pass 0 to {last}")
    return PatchCell((Node(site, layer, None, at),), site, None, at, layer)


def cell_text(cell: PatchCell) -> str:
    """A cell for a reader: ``z of 0.0 at S1+1``, ``resid_pre of layer 1 at IO``.

    Args:
        cell: what is exchanged together.

    Returns:
        Its site, its heads or layer, and its positions.
    """
    owner = f"layer {cell.layer}" if cell.heads is None else names_of(cell.heads)
    return f"{cell.site} of {owner} {place_of(cell.nodes)}"
