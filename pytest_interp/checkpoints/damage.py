"""Known damage to a loaded checkpoint's weights, undone bit for bit: what a claim about heads must notice.

Damage is a plain value; :func:`damaged` does it and undoes it, also after an exception or an interrupt. While it
lasts the checkpoint's memo is another, empty one: no activation outlives a change of weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from pytest_interp.checkpoints.model_state import fixed_tokens
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, names_of
from pytest_interp.tolerance import FLOAT_NOISE

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint

Kind: TypeAlias = Literal["exchanged", "zeroed", "flipped", "borrowed", "random"]


@dataclass(frozen=True)
class Damage:
    """What is done to the weights.

    Attributes:
        kind: ``exchanged``: heads trade places within their layer (queries, keys, values, outputs), which leaves
            the logits as they are; ``zeroed``: what heads write is zero; ``flipped``: the sign of what they write;
            ``borrowed``: they write through the OV circuit of another head, under their own attention; ``random``:
            every weight of the model drawn anew, with the mean and spread that its tensor had.
        heads: the damaged heads; none for ``random``.
        partner: for ``exchanged`` where each head goes, a permutation of heads of the same layers; for
            ``borrowed`` whose OV circuit each head gets.
        seed: for ``random``.
    """

    kind: Kind
    heads: tuple[Head, ...] = ()
    partner: Mapping[Head, Head] = field(default_factory=dict)
    seed: int = 0


@contextmanager
def damaged(checkpoint: Checkpoint, damage: Damage, *, on_disk: bool = False) -> Iterator[None]:
    """The checkpoint with this damage; as it was, bit for bit, when the block is left, however it is left.

    Args:
        checkpoint: the loaded model.
        damage: what is done to it.
        on_disk: whether its measurements are kept on disk, where others are.

    Raises:
        NotApplicable: the architecture does not allow it: its heads are not interchangeable, or its weights cannot
            be written head by head.
        UsageError: heads that the model lacks or that do not go together.
    """
    bridge = checkpoint.bridge
    layers = sorted({head.layer for head in (*damage.heads, *damage.partner)})
    parts = [bridge] if damage.kind == "random" else [bridge.blocks[layer].attn for layer in layers]
    stored = list({id(p): p for part in parts for p in part.parameters()}.values())
    # Value biases that were folded away belong to their heads as the other weights do.
    stored += [shift for shifts in checkpoint.weights.shifts.values() for shift in shifts or ()]
    saved = [parameter.detach().clone() for parameter in stored]
    with checkpoint.guard.isolated_memory(repr(damage) if on_disk else ""):
        before = _probe(checkpoint) if damage.kind == "exchanged" else None
        try:
            if damage.kind == "random":
                _draw_anew(stored, damage.seed)
            for layer in layers:
                _change(_ByHead(checkpoint, layer), damage)
            if before is not None:
                _check_interchangeable(checkpoint, damage, before)
            yield
        finally:
            for parameter, old in zip(stored, saved, strict=True):
                parameter.data.copy_(old)


class _ByHead:
    """Views of a layer's stored weights and biases by head: what is written here is what the model computes with."""

    def __init__(self, checkpoint: Checkpoint, layer: int) -> None:
        attn = checkpoint.bridge.blocks[layer].attn
        self.layer, self.shape = layer, checkpoint.shape
        self.q, self.k, self.v, self.o = (
            self._view(checkpoint, attn, name, getattr(attn, name).weight) for name in "qkvo"
        )
        self.biases = {name: self._bias(getattr(attn, name), self._count(name)) for name in "qkv"}
        self.shifts = [shifts[layer] for shifts in checkpoint.weights.shifts.values() if shifts is not None]

    def _count(self, name: str) -> int:
        return self.shape.n_heads if name in "qo" else self.shape.n_kv_heads

    def _view(self, checkpoint: Checkpoint, attn: Any, name: str, stored: Tensor) -> Tensor:
        view: Tensor = getattr(attn, f"W_{name.upper()}").data
        if view.data_ptr() != stored.data_ptr() or len(view) != self._count(name):
            raise NotApplicable(
                f"the weights {name} of {checkpoint.name} are not stored by head: they cannot be damaged head by head"
            )
        return view

    @staticmethod
    def _bias(linear: Any, count: int) -> Tensor | None:
        bias = getattr(linear, "bias", None)
        return None if bias is None else bias.data.view(count, -1)

    def rows(self, name: str) -> list[Tensor]:
        """The weight of q, k or v and, where there are some, its biases, by head."""
        bias = self.biases[name]
        folded = self.shifts if name == "v" else []
        return [getattr(self, name), *([] if bias is None else [bias]), *folded]


def _change(layer: _ByHead, damage: Damage) -> None:
    mine = [head.head for head in damage.heads if head.layer == layer.layer]
    partner = {a.head: b.head for a, b in damage.partner.items() if a.layer == layer.layer}
    if damage.kind == "zeroed":
        layer.o[mine] = 0
    elif damage.kind == "flipped":
        layer.o[mine] *= -1
    elif damage.kind == "borrowed":
        _borrow(layer, partner)
    elif damage.kind == "exchanged":
        _exchange(layer, partner)


def _exchange(layer: _ByHead, goes: Mapping[int, int]) -> None:
    """Puts each head where another was; with shared keys and values, groups of heads go together."""
    n, size = layer.shape.n_heads, layer.shape.n_heads // layer.shape.n_kv_heads
    order = list(range(n))  # order[place]: which head comes to stand there
    for head, place in goes.items():
        order[place] = head
    groups = [{head // size for head in order[start : start + size]} for start in range(0, n, size)]
    if sorted(order) != list(range(n)) or any(len(group) != 1 for group in groups):
        raise UsageError(
            f"heads of layer {layer.layer} cannot be exchanged as {dict(goes)}: every head must go somewhere, and "
            "query heads that share a key-value head must stay together"
        )
    for rows in (*layer.rows("q"), layer.o):
        rows.copy_(rows[order].clone())
    shared = [group.pop() for group in groups]
    for rows in (*layer.rows("k"), *layer.rows("v")):
        rows.copy_(rows[shared].clone())


def _borrow(layer: _ByHead, partner: Mapping[int, int]) -> None:
    size = layer.shape.n_heads // layer.shape.n_kv_heads
    if size > 1 and any(mine // size != theirs // size for mine, theirs in partner.items()):
        raise NotApplicable(
            "query heads that share a key-value head share its values: the OV circuit of a head of another group "
            "cannot be put under their attention alone"
        )
    mine, theirs = list(partner), list(partner.values())
    layer.o[mine] = layer.o[theirs].clone()
    if size == 1:
        for rows in layer.rows("v"):
            rows[mine] = rows[theirs].clone()


def _draw_anew(stored: list[Any], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in stored:
        old = parameter.data.float()
        new = torch.randn(old.shape, generator=generator).to(old.device) * old.std(correction=0) + old.mean()
        parameter.data.copy_(new)


def _probe(checkpoint: Checkpoint) -> Tensor:
    tokens = fixed_tokens(checkpoint.shape.d_vocab, (2, 8), seed=2)
    return checkpoint.run(tokens).logits


def _check_interchangeable(checkpoint: Checkpoint, damage: Damage, before: Tensor) -> None:
    moved = float((_probe(checkpoint) - before).abs().max())
    allowed = FLOAT_NOISE[checkpoint.precision] * max(1.0, float(before.abs().max()) / 20)
    if moved > allowed:
        raise NotApplicable(
            f"heads of {checkpoint.name} are not interchangeable: exchanging {names_of(damage.heads)} moves the logits "
            f"by {moved:.2g} (something is fixed to a head's place, such as the slope of its positions)"
        )
