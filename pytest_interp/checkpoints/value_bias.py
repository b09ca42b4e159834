"""Finds a model's value biases: in its values, or folded into the output bias of attention.

Attention adds up to one over its sources, so a constant in the values is the same constant in z. Compatibility mode
folds it into the output bias (with what the bias of the norm before attention makes of the value weights), and z then
lacks it. The constant is measured: the values of a residual stream of zeros, before and after the folding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from pytest_interp.checkpoints.hooks import Hook, hooked, storing
from pytest_interp.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

ValueBias: TypeAlias = Literal["kept", "removed"]
"""Whether what the value bias writes stays in a quantity."""

VALUE_BIASES: tuple[ValueBias, ...] = ("kept", "removed")

Shifts: TypeAlias = Mapping[ValueBias, "Sequence[Float[Tensor, 'kv_head d_head']] | None"]
"""What has to be added to v, or to z, of each layer so that it holds the value bias, or lacks it; None if unknown."""


def check_value_bias(value_bias: str) -> None:
    """Accepts ``kept`` and ``removed``.

    Raises:
        UsageError: it is neither.
    """
    if value_bias not in VALUE_BIASES:
        raise UsageError(f"value_bias is {value_bias!r}; allowed: {', '.join(map(repr, VALUE_BIASES))}")


def constants_in_values(bridge: Any, tokens: Int[Tensor, "row pos"]) -> list[Float[Tensor, "kv_head d_head"]]:
    """The values of each layer for a residual stream of zeros: the constant in them, whatever they read.

    Args:
        bridge: raw or processed, in eval mode.
        tokens: any; the residual stream of each layer is replaced by zeros.

    Returns:
        One tensor for each layer: zeros at a layer without attention, NaN where positions differ.
    """
    points, cfg = dict(bridge.hook_dict), bridge.cfg
    heads = cfg.n_key_value_heads or cfg.n_heads
    names = [f"blocks.{layer}.attn.hook_v" for layer in range(cfg.n_layers)]
    streams = [f"blocks.{layer}.hook_in" for layer in range(cfg.n_layers)]
    values: dict[str, Tensor] = {}
    hooks: list[tuple[str, Hook]] = [(name, _zeros) for name in streams if name in points]
    hooks += [(name, storing(values, name)) for name in names if name in points]
    with torch.inference_mode(), hooked(points, hooks):
        bridge(tokens, return_type="logits")
    nothing = next(bridge.parameters()).new_zeros(1, 1, heads, cfg.d_head)
    return [_constant(values.get(name, nothing), heads) for name in names]


def _constant(values: Tensor, heads: int) -> Tensor:
    """The value at every position, ``(kv_head, d_head)``; NaN where positions differ.

    Args:
        values: ``(row, pos, kv_head, d_head)``, or ``(row, pos, kv_head * d_head)``.
        heads: how many key-value heads there are.
    """
    first = values[0, 0]
    constant = first if first.ndim == 2 else first.view(heads, -1)
    is_constant = torch.allclose(values, first.expand_as(values), rtol=1e-2, atol=1e-4)
    # A clone is no inference tensor: damage writes to it in place.
    return constant.clone() if is_constant else torch.full_like(constant, torch.nan).clone()


def shifts_of(bridge: Any, raw: Sequence[Tensor] | None, processed: Sequence[Tensor]) -> Shifts:
    """What has to be added to the processed values so that they hold their bias, or lack it.

    Args:
        bridge: in compatibility mode.
        raw: the constants in the values of each layer before processing; None where the bridge came processed.
        processed: the constants that are left after it.

    Returns:
        For ``kept`` and ``removed`` a tensor for each layer; None where the constants are not known.
    """
    if not all(bool(constant.isfinite().all()) for constant in (*processed, *(raw or ()))):
        # The values depend on something else than the residual stream: no constant is known, and none is subtracted.
        return {"kept": None, "removed": [torch.zeros_like(constant) for constant in processed]}
    has_constants = any(bool(constant.any()) for constant in processed)
    if raw is None and (has_constants or not _has_output_bias(bridge)):
        raw = processed  # nothing was folded: the constants are still there, or no output bias could hold them
    folded = None if raw is None else [total - rest for total, rest in zip(raw, processed, strict=True)]
    return {"kept": folded, "removed": [-constant for constant in processed]}


def _has_output_bias(bridge: Any) -> bool:
    """Whether any layer's attention has an output bias that is not 0."""
    biases = [getattr(getattr(getattr(block, "attn", None), "o", None), "bias", None) for block in bridge.blocks]
    return any(bias is not None and bool(bias.any()) for bias in biases)


def _zeros(value: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
    return torch.zeros_like(value)
