"""What a checkpoint's weights say without a forward pass over prompts, as compatibility mode leaves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_interp.checkpoints.looks import handed_out
from pytest_interp.checkpoints.value_bias import Shifts, ValueBias, check_value_bias
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """How many of what a checkpoint has."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_vocab: int
    n_ctx: int

    @classmethod
    def of(cls, cfg: Any) -> Shape:
        """The shape that a bridge's configuration says."""
        n_kv_heads = cfg.n_key_value_heads or cfg.n_heads
        return cls(cfg.n_layers, cfg.n_heads, n_kv_heads, cfg.d_head, cfg.d_model, cfg.d_vocab, cfg.n_ctx)

    @property
    def heads(self) -> list[Head]:
        """Every query head, layer by layer."""
        return [Head(layer, head) for layer in range(self.n_layers) for head in range(self.n_heads)]


class Weights:
    """The weights of a bridge, by head where they have heads."""

    name: str
    shape: Shape
    device: torch.device
    _shifts: Shifts

    @property
    def _bridge(self) -> Any:
        raise NotImplementedError

    @handed_out
    def w_v(self, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """Value weights by query head; grouped key-value heads are repeated for the query heads that share them."""
        weights: Tensor = self._bridge.blocks[layer].attn.W_V
        return weights.repeat_interleave(self.shape.n_heads // len(weights), dim=0)

    @handed_out
    def value_bias(self, layer: int, value_bias: ValueBias = "kept") -> Float[Tensor, "kv_head d_head"]:
        """What has to be added to v (and so to z) of a layer for it to hold the value bias, or to lack it.

        ``kept``: the bias that compatibility mode folded into the output bias, with what the bias of the norm before
        attention adds to it; zeros where there is none. ``removed``: zeros, since v lacks it already. On a bridge of
        the user's own whose biases were not folded it is the other way round: zeros, and minus the bias.

        Raises:
            NotApplicable: the bridge came with its value biases folded, so that they are not known; or its values
                depend on something else than the residual stream.
            UsageError: another word.
        """
        check_value_bias(value_bias)
        shifts = self._shifts[value_bias]
        if shifts is None:
            raise NotApplicable(
                f"the value biases of {self.name} are not known: its bridge came in compatibility mode, where they are "
                "folded into the output bias, or its values do not depend on the residual stream alone. Pass the "
                "bridge as it is before enable_compatibility_mode(), or leave value_bias out"
            )
        return shifts[layer]

    @handed_out
    def w_o(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """Output weights by head."""
        weights: Tensor = self._bridge.blocks[layer].attn.W_O
        return weights

    def moves_anything(self, head: Head) -> bool:
        """Whether a head's values and output weights are not all 0."""
        return bool(self.w_v(head.layer)[head.head].any() and self.w_o(head.layer)[head.head].any())

    @handed_out
    def w_u(self) -> Float[Tensor, "d_model d_vocab"]:
        """The unembedding."""
        weights: Tensor = self._bridge.W_U
        return weights

    @handed_out
    def w_e(self) -> Float[Tensor, "d_vocab d_model"]:
        """The embedding."""
        weights: Tensor = self._bridge.W_E
        return weights

    @handed_out
    def b_u(self) -> Float[Tensor, " d_vocab"]:
        """The unembedding's bias, into which a final norm's is folded; zero where there is none."""
        bias = getattr(self._bridge, "b_U", None)
        return torch.zeros(self.shape.d_vocab, device=self.device) if bias is None else bias

    def final_norm(self, residual: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """The residual as the unembedding reads it: through the final norm, where there is one."""
        with torch.inference_mode():
            normed: Tensor = self._bridge.ln_final(residual.unsqueeze(1))
            return normed.squeeze(1)

    def embed_through_mlp0(self, tokens: Int[Tensor, " name"]) -> Float[Tensor, "name d_model"]:
        """Token embeddings after the first MLP, without attention or positions: ``W_E + MLP0(ln2(W_E))``."""
        with torch.inference_mode():
            embedded: Tensor = self._bridge.W_E[tokens.to(self.device)].unsqueeze(1)
            block = self._bridge.blocks[0]
            if getattr(block, "mlp", None) is not None:
                embedded = embedded + block.mlp(block.ln2(embedded) if hasattr(block, "ln2") else embedded)
            return embedded.squeeze(1)

    def ln1(self, layer: int, residual: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """The residual as the attention of a layer reads it (its gain is folded into the weights)."""
        block = self._bridge.blocks[layer]
        if not hasattr(block, "ln1"):
            return residual
        with torch.inference_mode():
            normed: Tensor = block.ln1(residual.unsqueeze(1))
            return normed.squeeze(1)
