"""What stands between a head and the residual stream, and between the residual stream and the logits.

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
"""From what the unembedding gives to logits, element by element."""

POST_NORM = "blocks.{}.ln1_post.hook_scale"
_LARGE = 100.0
"""So large a residual stream that the epsilon of a norm is nothing beside it."""


@dataclass(frozen=True)
class Outlet:
    """What a loaded model puts after its residual stream.

    Attributes:
        start: hook names of what the stream starts from, by component: ``embed``, and ``pos_embed`` where it is added.
        centred: whether the final norm takes away a mean that the stream still has.
        transform: from the unembedding to the logits; None where nothing stands there.
    """

    start: dict[str, str]
    centred: bool
    transform: Transform | None

    def logits(self, before: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Logits from what the unembedding gives."""
        return before if self.transform is None else self.transform(before)

    def slope(self, before: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """How much a logit rises with what the unembedding gives, at each of its values."""
        if self.transform is None:
            return torch.ones_like(before)
        with torch.inference_mode(mode=False), torch.enable_grad():
            point = before.clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.transform(point).sum(), point)
        return slope


def gain_of(norm: Any, like: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """The factor of each direction in what a norm gives, beside its scale: ``norm(x) = gain * x / scale``.

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
    """Whether a norm takes away the mean of what it reads."""
    ones = torch.ones_like(like)
    with torch.inference_mode():
        above, below = (norm((sign * _LARGE * ones)[None, None])[0, 0] for sign in (1, -1))
        return bool((above - below).abs().max() < 1e-2 * gain_of(norm, like).abs().max())


def shift_of(norm: Any, like: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """What a norm adds whatever it reads: its bias."""
    with torch.inference_mode():
        shift: Tensor = norm(torch.zeros_like(like)[None, None])[0, 0]
    return shift


def transforms_of(bridge: Any) -> Sequence[Transform | None]:
    """What may stand between unembedding and logits: nothing, or what the architecture declares."""
    declared = getattr(getattr(bridge, "adapter", None), "apply_output_logits_transform", None)
    return (None,) if declared is None else (None, declared)
