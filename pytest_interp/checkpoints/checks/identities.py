"""Checks on a loaded model the identities on which attribution rests: the parts of a sum add up to the whole.

An unknown architecture may put something between a head and the residual stream, or between the stream and the logits.
Then an attribution would be silently wrong. So the sums are computed once, on fixed tokens: in an unedited run, and
with z of every second head exchanged between the prompts. What rests on a sum that does not add up is not applicable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.checkpoints.model_state import fixed_tokens
from pytest_interp.checkpoints.stream import Outlet, Transform
from pytest_interp.errors import InterpError, NotApplicable

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.checkpoints.parts import Parts

Kind: TypeAlias = Literal["components", "heads", "logits"]

SUMS: Mapping[Kind, str] = {
    "components": "embeddings, attention and MLPs do not add up to its residual stream",
    "heads": "heads and output bias do not add up to what attention writes",
    "logits": "the residual stream, divided by the final norm's scale and unembedded, does not give its logits",
}
_ALLOWED = {"float64": 1e-5, "float32": 1e-4, "tf32": 0.01, "bfloat16": 0.05, "float16": 0.01}
"""How far a sum may be off, relative to its largest term: some tens of roundings of each precision.

In float64 too parts of the bridge (its softmax, for one) compute in float32: SmolLM2 is off by 1.1e-6 of it."""
_TOKENS = (2, 6)


@dataclass(frozen=True)
class Identity:
    """How well a sum holds on a model.

    Attributes:
        kind: which sum.
        difference: the largest difference between the sum and the whole.
        size: the largest term of that sum.
        layer: the layer of that sum; None where it is over all layers.
        allowed: the largest ``difference / size`` at which it holds.
        reason: why it could not be computed; empty where it was.
    """

    kind: Kind
    difference: float = 0.0
    size: float = 0.0
    layer: int | None = None
    allowed: float = 0.0
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether the difference is float noise."""
        return not self.reason and self.difference <= self.allowed * self.size

    def complaint(self, name: str) -> str:
        """What does not hold, and by how much, for a message.

        Args:
            name: of the checkpoint.
        """
        if self.reason:
            return f"whether parts of {name} add up could not be looked at ({self.reason})"
        layer = "" if self.layer is None else f" at layer {self.layer}"
        return f"{name}: {SUMS[self.kind]}{layer}: off by {self.difference:.2g}, where at most {self.size:.2g} is added"


def outlet_of(model: Parts, transforms: Sequence[Transform | None]) -> Outlet:
    """What the residual stream starts from and what stands after it, as a pass over fixed tokens shows.

    Args:
        model: just loaded.
        transforms: candidates for what stands between unembedding and logits; the first that gives the logits is
            taken.
    """
    hooks = {"embed": "hook_embed", "pos_embed": "hook_pos_embed"}
    last = model.sites.hook("resid_post", model.shape.n_layers - 1)
    keep = [name for name in (*hooks.values(), last, "unembed.hook_in") if name in model.sites.names]
    logits, activations = model.forward.run(fixed_tokens(model.shape.d_vocab, _TOKENS, seed=5), keep=keep)
    start = {name: hook for name, hook in hooks.items() if hook in activations}
    stream = activations[last][:, -1].float()
    off_centre = float(stream.mean(-1).abs().max()) > 1e-5 * float(stream.abs().max())
    plain = Outlet(start, centred=False, transform=None)
    centred = model.weights.norm_centres and off_centre
    if "unembed.hook_in" not in activations:
        return plain
    unembedded = model.weights.unembedded(activations["unembed.hook_in"][:, -1]).float()
    allowed = _ALLOWED[model.precision] * float(unembedded.abs().max())
    for transform in transforms:
        outlet = Outlet(start, centred, transform)
        difference = (outlet.logits(unembedded) - logits).abs().max()
        if float(difference) <= allowed:
            return outlet
    return Outlet(start, centred, None)


def identities_of(model: Parts) -> tuple[Identity, ...]:
    """The three identities on fixed tokens.

    Args:
        model: with its outlet, see :func:`outlet_of`.

    Returns:
        Of each identity the worst case: over layers, and over the unedited and the edited run.
    """
    kinds: tuple[Kind, ...] = ("components", "heads", "logits")
    try:
        return tuple(_measured(model))
    except (InterpError, RuntimeError, AttributeError, KeyError, IndexError, TypeError) as error:
        # The architecture lacks one of the parts: what rests on the sums is not applicable.
        text = " ".join(str(error).split())
        return tuple(Identity(kind, reason=f"{type(error).__name__}: {text[:200]}") for kind in kinds)


def check(identities: Sequence[Identity], kinds: Sequence[Kind], name: str) -> None:
    """Accepts a checkpoint on which sums hold.

    Args:
        identities: of the checkpoint.
        kinds: the sums that a measurement rests on.
        name: of the checkpoint, for the message.

    Raises:
        NotApplicable: a sum does not hold; the message says by how much.
    """
    for identity in identities:
        if identity.kind in kinds and not identity.holds:
            raise NotApplicable(
                f"{identity.complaint(name)}; so what rests on this sum is not applicable on this checkpoint"
            )


def _measured(model: Parts) -> list[Identity]:
    """The worst case of each identity."""
    layers = range(model.shape.n_layers)
    tokens = fixed_tokens(model.shape.d_vocab, _TOKENS, seed=5)
    z_hooks = [model.sites.hook("z", layer) for layer in layers]
    written = [model.sites.hook("attn_out", layer) for layer in layers]
    mlps = [name for layer in layers if (name := f"blocks.{layer}.hook_mlp_out") in model.sites.names]
    last = model.sites.hook("resid_post", layers[-1])
    scales = [scale for layer in layers if (scale := model.sites.write_scale_hook(layer))]
    end = [model.sites.scale_hook] if model.sites.scale_hook else []
    keep = [*model.sites.embedding_hooks.values(), *z_hooks, *written, *mlps, *scales, *end, last]

    def exchanged(z: Tensor) -> Tensor:
        changed = z.clone()
        changed[:, :, ::2] = z.flip(0)[:, :, ::2]
        return changed

    worst: dict[Kind, Identity] = {}
    for edits in ({}, dict.fromkeys(z_hooks, exchanged)):
        logits, activations = model.forward.run(tokens, keep=keep, edits=edits)
        parts = [
            activations[hook].float()
            for hook in (*model.sites.embedding_hooks.values(), *written, *mlps)
            if hook in activations
        ]
        stream = activations[last].float()
        identities = [_compared("components", [part.expand_as(stream) for part in parts], stream, model.precision)]
        identities += [_heads_of_layer(model, layer, activations) for layer in layers]
        final_scale = activations[end[0]][:, -1].flatten(1)[:, :1].float() if end else 1.0
        identities.append(_logits(model, stream[:, -1] / final_scale, logits))
        for identity in identities:
            furthest = worst.get(identity.kind)
            if furthest is None or _relative(identity) > _relative(furthest):
                worst[identity.kind] = identity
    return list(worst.values())


def _heads_of_layer(model: Parts, layer: int, activations: Mapping[str, Tensor]) -> Identity:
    """Heads and output bias of a layer, each divided by the norm after attention if any, against its ``attn_out``."""
    z, total = (activations[model.sites.hook(site, layer)].float() for site in ("z", "attn_out"))
    heads = torch.einsum("rphd,hdm->hrpm", z, model.weights.w_o(layer).float())
    bias = model.weights.b_o(layer).float().expand_as(heads[0])
    scale_hook = model.sites.write_scale_hook(layer)
    scale = activations[scale_hook].float() if scale_hook else 1.0
    return _compared("heads", [part / scale for part in (*heads, bias)], total, model.precision, layer)


def _logits(model: Parts, scaled: Tensor, logits: Tensor) -> Identity:
    """The scaled residual stream at END, unembedded, against the logits.

    Processed logits may differ by a constant for each position.
    """
    unembedded = scaled @ model.weights.w_u().float() + model.weights.b_u().float()
    difference = model.weights.logits(unembedded) - logits
    varying = difference - difference.mean(-1, keepdim=True)
    return Identity(
        "logits", float(varying.abs().max()), float(unembedded.abs().max()), None, _ALLOWED[model.precision]
    )


def _compared(kind: Kind, terms: Sequence[Tensor], total: Tensor, precision: str, layer: int | None = None) -> Identity:
    """How far the sum of terms is from a total; all tensors have one shape."""
    difference = float((torch.stack(list(terms)).sum(0) - total).abs().max())
    size = max(float(term.abs().max()) for term in terms)
    return Identity(kind, difference, size, layer, _ALLOWED[precision])


def _relative(identity: Identity) -> float:
    """The difference relative to the largest term."""
    return identity.difference / max(identity.size, 1e-30)
