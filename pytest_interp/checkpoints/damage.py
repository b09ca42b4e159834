"""Known damage to a loaded checkpoint's weights, undone bit for bit: a claim about heads must notice it.

A :class:`Damage` is a plain value. :func:`damaged` applies it, and undoes it also after an exception or an interrupt.
While it lasts the checkpoint has an empty memo of its own: no activation outlives a change of weights.
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
from pytest_interp.tolerance import noise_of_logits

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.checkpoint import Checkpoint

Kind: TypeAlias = Literal["exchanged", "zeroed", "flipped", "borrowed", "random"]
"""What is done to the weights:

* ``exchanged``: heads of a layer trade places, with all their weights. The logits stay as they are.
* ``zeroed``: the output weights W_O of heads are 0.
* ``flipped``: the output weights of heads have the other sign.
* ``borrowed``: heads have the OV circuit (W_V and W_O) of another head of the layer, under their own attention.
* ``random``: each weight tensor of the model is drawn anew, with the mean and standard deviation that it had.
"""


@dataclass(frozen=True)
class Damage:
    """A damage to the weights.

    Attributes:
        kind: what is done.
        heads: the damaged heads; none for ``random``.
        partner: for ``exchanged``: the place to which each head goes, a permutation of heads of the same layers. For
            ``borrowed``: the head whose OV circuit each head gets.
        seed: for ``random``.

    Example:
        Without the three name movers the backup is left, and the logit difference falls:

        >>> from pytest_interp import Experiment, Head, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=8, seed=0, bos=True))
        >>> movers = (Head(3, 0), Head(3, 1), Head(3, 2))
        >>> with damaged(checkpoint, Damage("zeroed", movers)):
        ...     round(float(experiment.logit_diffs().mean()), 1)
        5.0
        >>> round(float(experiment.logit_diffs().mean()), 1)
        8.9
    """

    kind: Kind
    heads: tuple[Head, ...] = ()
    partner: Mapping[Head, Head] = field(default_factory=dict)
    seed: int = 0


@contextmanager
def damaged(checkpoint: Checkpoint, damage: Damage, *, on_disk: bool = False) -> Iterator[None]:
    """Damages the checkpoint inside the block; afterwards it is as it was, bit for bit, however the block is left.

    Args:
        checkpoint: the loaded model.
        damage: what is done to it.
        on_disk: whether measurements of the damaged model go to the disk cache too, if there is one.

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
        logits = _logits(checkpoint) if damage.kind == "exchanged" else None
        try:
            if damage.kind == "random":
                _randomise(stored, damage.seed)
            for layer in layers:
                _change(_ByHead(checkpoint, layer), damage)
            if logits is not None:
                _check_interchangeable(checkpoint, damage, logits)
            yield
        finally:
            for parameter, value in zip(stored, saved, strict=True):
                parameter.data.copy_(value)


class _ByHead:
    """Views of a layer's stored weights and biases, with the head as first axis: a write to a view changes the model.

    Attributes:
        layer: from 0.
        shape: of the model.
        q: query weights, ``(head, d_model, d_head)``.
        k: key weights, ``(kv_head, d_model, d_head)``.
        v: value weights, of the same shape.
        o: output weights, ``(head, d_head, d_model)``.
        biases: of q, k and v by name, ``(head, d_head)``; None where there is none.
        shifts: value biases that were folded away, ``(kv_head, d_head)``.
    """

    def __init__(self, checkpoint: Checkpoint, layer: int) -> None:
        """Takes the views.

        Raises:
            NotApplicable: the weights are not stored by head.
        """
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
        """The weight of q, k or v and its biases, all with the head as first axis."""
        bias = self.biases[name]
        folded = self.shifts if name == "v" else []
        return [getattr(self, name), *([] if bias is None else [bias]), *folded]


def _change(layer: _ByHead, damage: Damage) -> None:
    """Does to a layer what a damage says of its heads."""
    heads = [head.head for head in damage.heads if head.layer == layer.layer]
    partner = {head.head: other.head for head, other in damage.partner.items() if head.layer == layer.layer}
    if damage.kind == "zeroed":
        layer.o[heads] = 0
    elif damage.kind == "flipped":
        layer.o[heads] *= -1
    elif damage.kind == "borrowed":
        _replace_ov(layer, partner)
    elif damage.kind == "exchanged":
        _exchange(layer, partner)


def _exchange(layer: _ByHead, place_of: Mapping[int, int]) -> None:
    """Moves heads to other places of their layer, with all their weights.

    Query heads that share a key-value head move together, and the key-value head moves with them.

    Args:
        layer: its weights by head.
        place_of: by head, the place to which it goes; heads that are not in it stay.

    Raises:
        UsageError: two heads at one place, or query heads of one group at places of two.
    """
    n_heads, group_size = layer.shape.n_heads, layer.shape.n_heads // layer.shape.n_kv_heads
    head_at = list(range(n_heads))
    for head, place in place_of.items():
        head_at[place] = head
    # For each place of a key-value head: the groups from which the query heads there come.
    groups_at = [
        {head // group_size for head in head_at[start : start + group_size]} for start in range(0, n_heads, group_size)
    ]
    if sorted(head_at) != list(range(n_heads)) or any(len(groups) != 1 for groups in groups_at):
        raise UsageError(
            f"heads of layer {layer.layer} cannot be exchanged as {dict(place_of)}: every head must go somewhere, and "
            "query heads that share a key-value head must stay together"
        )
    for rows in (*layer.rows("q"), layer.o):
        rows.copy_(rows[head_at].clone())
    kv_head_at = [groups.pop() for groups in groups_at]
    for rows in (*layer.rows("k"), *layer.rows("v")):
        rows.copy_(rows[kv_head_at].clone())


def _replace_ov(layer: _ByHead, donor_of: Mapping[int, int]) -> None:
    """Gives heads the OV circuit of another head: a copy of its values and output weights.

    Query heads of one group share their values already, so among them only the output weights are copied.

    Args:
        layer: its weights by head.
        donor_of: by head, the head whose OV circuit it gets.

    Raises:
        NotApplicable: a head of another group, whose values would change for the whole group.
    """
    group_size = layer.shape.n_heads // layer.shape.n_kv_heads
    if group_size > 1 and any(head // group_size != donor // group_size for head, donor in donor_of.items()):
        raise NotApplicable(
            "query heads that share a key-value head share its values: the OV circuit of a head of another group "
            "cannot be put under their attention alone"
        )
    heads, donors = list(donor_of), list(donor_of.values())
    layer.o[heads] = layer.o[donors].clone()
    if group_size == 1:
        for rows in layer.rows("v"):
            rows[heads] = rows[donors].clone()


def _randomise(stored: list[Any], seed: int) -> None:
    """Draws weights from normal distributions with the mean and standard deviation of each tensor."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in stored:
        weight = parameter.data.float()
        drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
        parameter.data.copy_(drawn * weight.std(correction=0) + weight.mean())


def _logits(checkpoint: Checkpoint) -> Tensor:
    """Logits at END on fixed tokens, ``(row, vocab)``."""
    tokens = fixed_tokens(checkpoint.shape.d_vocab, (2, 8), seed=2)
    return checkpoint.run(tokens).logits


def _check_interchangeable(checkpoint: Checkpoint, damage: Damage, expected: Tensor) -> None:
    """Accepts an exchange of heads that leaves the logits as they were.

    Raises:
        NotApplicable: they move by more than float noise.
    """
    moved = float((_logits(checkpoint) - expected).abs().max())
    allowed = noise_of_logits(checkpoint.precision, float(expected.abs().max()))
    if moved > allowed:
        raise NotApplicable(
            f"heads of {checkpoint.name} are not interchangeable: exchanging {names_of(damage.heads)} moves the logits "
            f"by {moved:.2g} (something is fixed to a head's place, such as the slope of its positions)"
        )
