"""The norms and factors between a head and the residual stream, and between the residual stream and the logits.

A head's output passes W_O and, in some architectures, a norm after attention (Gemma 2 and 3, OLMo 2) and a multiplier
(Granite). The stream passes the final norm, the unembedding and, in some, a multiplier or a softcap (Gemma 2). The
scale of a norm depends on the prompt, so it is kept from a run; the rest is read off the model's own parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Transform: TypeAlias = "Callable[[Tensor], Tensor]"
"""Turns the output of the unembedding into logits, element by element."""

POST_NORM = "blocks.{}.ln1_post.hook_scale"
_LARGE = 100.0
"""The size of a residual stream beside which the epsilon of a norm is negligible."""


@dataclass(frozen=True)
class Outlet:
    """What stands at both ends of a model's residual stream.

    Attributes:
        start: hook names of what the stream starts from, by component: ``embed``, and ``pos_embed`` where it is added.
        centred: whether the final norm subtracts the mean of a stream that has one.
        transform: from the unembedding to the logits; None where they are the same.
    """

    start: dict[str, str]
    centred: bool
    transform: Transform | None

    def logits(self, unembedded: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Logits from the output of the unembedding, of any shape."""
        return unembedded if self.transform is None else self.transform(unembedded)

    def slope(self, unembedded: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """The derivative of each logit by the output of the unembedding there, of the same shape."""
        if self.transform is None:
            return torch.ones_like(unembedded)
        with torch.inference_mode(mode=False), torch.enable_grad():
            point = unembedded.clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.transform(point).sum(), point)
        return slope


def gain_of(norm: Any, like: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """The gain of a norm, measured: the factor of each direction beside its scale, ``norm(x) = gain * x / scale``.

    Args:
        norm: the model's own module, whatever it calls its weight and whether it adds 1 to it.
        like: any tensor of the width, dtype and device of the stream.
    """
    signs = torch.ones_like(like)
    signs[1::2] = -1  # its mean is 0, so that a norm that centres leaves it
    with torch.inference_mode():
        above, below = (norm((sign * _LARGE * signs)[None, None])[0, 0] for sign in (1, -1))
    gain: Tensor = (above - below) / 2 * signs
    return gain


def centres(norm: Any, like: Float[Tensor, " d_model"]) -> bool:
    """Whether a norm subtracts the mean of what it reads, as LayerNorm does and RMSNorm does not.

    Args:
        norm: the model's own module.
        like: any tensor of the width, dtype and device of the stream.
    """
    ones = torch.ones_like(like)
    with torch.inference_mode():
        above, below = (norm((sign * _LARGE * ones)[None, None])[0, 0] for sign in (1, -1))
        return bool((above - below).abs().max() < 1e-2 * gain_of(norm, like).abs().max())


def shift_of(norm: Any, like: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """The bias of a norm, measured: its output for a stream of zeros.

    Args:
        norm: the model's own module.
        like: any tensor of the width, dtype and device of the stream.
    """
    with torch.inference_mode():
        shift: Tensor = norm(torch.zeros_like(like)[None, None])[0, 0]
    return shift


def transforms_of(bridge: Any) -> Sequence[Transform | None]:
    """The candidates for what stands between unembedding and logits: None, and what the architecture declares."""
    declared = getattr(getattr(bridge, "adapter", None), "apply_output_logits_transform", None)
    return (None,) if declared is None else (None, declared)
