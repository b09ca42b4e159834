"""The weights of a checkpoint by head, as compatibility mode leaves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_interp.checkpoints.access import handed_out
from pytest_interp.checkpoints.shape import Shape
from pytest_interp.checkpoints.stream import Outlet, centres, gain_of, shift_of
from pytest_interp.checkpoints.value_bias import Shifts, ValueBias, check_value_bias
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pytest_interp.checkpoints.guard import Guard


SAMPLED = 64
"""Entries of a weight matrix in a sample."""


@dataclass(frozen=True, eq=False, repr=False)
class Weights:
    """The weights of a bridge, by head where they have heads.

    Attributes:
        bridge: the model.
        name: of the checkpoint, for messages.
        shape: how many layers, heads and dimensions it has.
        shifts: where its value biases are.
        outlet: what stands between the residual stream and the logits.
        has_final_norm: whether the residual stream passes a norm before the unembedding.
        guard: within one of its measurements tensors are the model's own, outside they are copies.

    Example:
        >>> from pytest_interp import load
        >>> weights = load("planted-ioi").weights
        >>> tuple(weights.w_v(3).shape)  # (head, d_model, d_head)
        (4, 303, 144)
        >>> tuple(weights.w_u().shape)  # (d_model, d_vocab)
        (303, 179)
    """

    bridge: Any
    name: str
    shape: Shape
    shifts: Shifts
    outlet: Outlet
    has_final_norm: bool
    guard: Guard

    @handed_out
    def w_v(self, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """Value weights by query head; grouped key-value heads are repeated for the query heads that share them."""
        weights: Tensor = self.bridge.blocks[layer].attn.W_V
        return weights.repeat_interleave(self.shape.n_heads // len(weights), dim=0)

    @handed_out
    def value_bias(self, layer: int, value_bias: ValueBias = "kept") -> Float[Tensor, "kv_head d_head"]:
        """What has to be added to v (and so to z) of a layer for it to hold the value bias, or to lack it.

        ``kept``: the bias that compatibility mode folded into the output bias, with what the bias of the norm before
        attention adds to it; zeros where there is none. ``removed``: zeros, since v lacks it already. On a user's own
        bridge whose biases were not folded it is the reverse: zeros, and minus the bias.

        Raises:
            NotApplicable: the bridge came with its value biases folded, so that they are not known; or its values
                depend on something else than the residual stream.
            UsageError: ``value_bias`` is neither ``kept`` nor ``removed``.
        """
        check_value_bias(value_bias)
        shifts = self.shifts[value_bias]
        if shifts is None:
            raise NotApplicable(
                f"the value biases of {self.name} are not known: its bridge came in compatibility mode, where they are "
                "folded into the output bias, or its values do not depend on the residual stream alone. Pass the "
                "bridge as it is before enable_compatibility_mode(), or leave value_bias out"
            )
        return shifts[layer]

    @handed_out
    def w_o(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """Output weights by head, as the residual stream receives them.

        The gain of a norm after attention and the multiplier of the block are in them; what they write has to be
        divided by that norm's scale, see :attr:`~pytest_interp.checkpoints.sites.Sites.write_scale_hook`.
        """
        return self._as_received(layer, self.bridge.blocks[layer].attn.W_O)

    @handed_out
    def b_o(self, layer: int) -> Float[Tensor, " d_model"]:
        """The output bias of attention, as the residual stream receives it; zeros where there is none."""
        bias: Tensor | None = getattr(self.bridge.blocks[layer].attn.o, "bias", None)
        if bias is None:
            return torch.zeros(self.shape.d_model, device=self.bridge.W_U.device)
        return self._as_received(layer, bias)

    def _as_received(self, layer: int, written: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """What attention writes, times the gain of the norm after it and the block's multiplier."""
        block = self.bridge.blocks[layer]
        if (norm := getattr(block, "ln1_post", None)) is not None:
            written = written * gain_of(norm, written.reshape(-1, written.shape[-1])[0])
        multiplier = getattr(block, "residual_contribution_scale", 1.0)
        return written if multiplier == 1 else written * multiplier

    def moves_anything(self, head: Head) -> bool:
        """Whether a head can write anything: its value and its output weights are not all 0."""
        return bool(self.w_v(head.layer)[head.head].any() and self.w_o(head.layer)[head.head].any())

    def sample(self) -> tuple[float, ...]:
        """A sample of what heads read and write with, by which two checkpoints can be compared without both in memory.

        Returns:
            For each layer 64 entries of ``W_V`` and 64 of ``W_O``, evenly spaced, to four digits.
        """
        entries: list[float] = []
        for layer in range(self.shape.n_layers):
            for weight in (self.w_v(layer), self.w_o(layer)):
                places = torch.linspace(0, weight.numel() - 1, SAMPLED, dtype=torch.float64).long()
                entries += weight.reshape(-1)[places.to(weight.device)].float().tolist()
        return tuple(float(f"{entry:.4g}") for entry in entries)

    @handed_out
    def w_u(self) -> Float[Tensor, "d_model d_vocab"]:
        """The unembedding as it reads a residual stream that was divided by the final norm's scale.

        That norm's gain is in it, and its centring where the stream is not centred; a multiplier or softcap of the
        logits is not: :meth:`logits`.
        """
        weights: Tensor = self.bridge.W_U
        if self._final_norm is not None:
            gain = gain_of(self._final_norm, weights[:, 0])
            if not bool((gain - 1).abs().max() <= 1e-6):  # folded into the unembedding
                weights = weights * gain[:, None]
        return weights - weights.mean(0) if self.outlet.centred else weights

    @handed_out
    def b_u(self) -> Float[Tensor, " d_vocab"]:
        """The unembedding's bias, with what the final norm's bias writes into it; zero where there is none."""
        bias: Tensor | None = getattr(self.bridge, "b_U", None)
        if bias is None:
            bias = torch.zeros(self.shape.d_vocab, device=self.bridge.W_U.device)
        if self._final_norm is not None:
            shift = shift_of(self._final_norm, self.bridge.W_U[:, 0])
            if bool(shift.any()):
                bias = bias + shift @ self.bridge.W_U
        return bias

    @handed_out
    def w_e(self) -> Float[Tensor, "d_vocab d_model"]:
        """The embedding, without the multiplier that some architectures put after it."""
        weights: Tensor = self.bridge.W_E
        return weights

    def unembedded(
        self, normed: Float[Tensor, "row d_model"], tokens: Int[Tensor, "row k"] | None = None
    ) -> Float[Tensor, "row k"]:
        """The output of the unembedding, to which :meth:`logits` still has to be applied.

        Args:
            normed: the residual stream after the final norm.
            tokens: ids that are read of each row, ``(row, k)``; None for the whole vocabulary.

        Returns:
            Shape ``(row, k)`` or ``(row, d_vocab)``.
        """
        weights: Tensor = self.bridge.W_U
        bias: Tensor | None = getattr(self.bridge, "b_U", None)
        if tokens is None:
            values = normed @ weights
            return values if bias is None else values + bias
        values = (normed.float()[:, None] * weights.T[tokens].float()).sum(-1)
        return values if bias is None else values + bias[tokens].float()

    @property
    def _final_norm(self) -> Any:
        return getattr(self.bridge, "ln_final", None) if self.has_final_norm else None

    @property
    def norm_centres(self) -> bool:
        """Whether the final norm subtracts the mean of the residual stream."""
        return self._final_norm is not None and centres(self._final_norm, self.bridge.W_U[:, 0])

    @property
    def has_transform(self) -> bool:
        """Whether a multiplier or a softcap stands between the unembedding and the logits."""
        return self.outlet.transform is not None

    def logits(self, unembedded: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Logits from the output of the unembedding: through a multiplier or a softcap, where there is one."""
        return self.outlet.logits(unembedded)

    def slope(self, unembedded: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """The derivative of each logit by the output of the unembedding; 1 where they are the same."""
        return self.outlet.slope(unembedded)

    def ln1(self, layer: int, residual: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """The residual as the attention of a layer reads it (its gain is folded into the weights)."""
        block = self.bridge.blocks[layer]
        if not hasattr(block, "ln1"):
            return residual
        with torch.inference_mode():
            normed: Tensor = block.ln1(residual.unsqueeze(1))
            return normed.squeeze(1)
