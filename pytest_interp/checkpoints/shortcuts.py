"""Shortcuts of driven passes, with equal results: what a block computes and nobody reads is left out.

A driven pass calls a bridge's blocks one by one (:mod:`pytest_interp.checkpoints.blocks`). The first one of each token
length is compared with a whole pass, which takes no shortcut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

_SLOW_GELU = "NewGELUActivation"
_NORMS = ("NormalizationBridge", "RMSNormalizationBridge")
_SCORES = "hook_attn_scores"
_ABSENT = object()


class Shortcut(NamedTuple):
    """An attribute of a module, and what stands there during a driven pass.

    Attributes:
        module: of the model or its bridge.
        name: of the attribute.
        value: during the pass. An attribute ``forward`` of a module hides the method of its class.
    """

    module: torch.nn.Module
    name: str
    value: Any


def shortcuts_of(bridge: Any) -> list[Shortcut]:
    """What a driven pass leaves out.

    1. transformers computes one GELU in nine steps, each through memory; torch has one kernel for it.
    2. A norm of the bridge computes its scale and the normalised stream for hooks. Where no hook is, the model's own
       norm runs alone.
    3. Attention in compatibility mode looks for queries without any visible key, and for NaN that they lead to. There
       are none without padding. Outside of this mode attention masks with the smallest number instead of minus
       infinity, whose softmax is 0 too.

    Args:
        bridge: in compatibility mode.

    Returns:
        All of them. A module whose forward was replaced already has none.
    """
    shortcuts = [Shortcut(attn, "compatibility_mode", False) for attn in _attention_of(bridge)]
    for module in dict.fromkeys((*bridge.modules(), *bridge.original_model.modules())):
        kind = type(module).__name__
        if "forward" in vars(module):
            continue
        if kind == _SLOW_GELU:
            shortcuts.append(Shortcut(module, "forward", _gelu))
        elif kind in _NORMS and _gives_own_norm(module):
            shortcuts.append(Shortcut(module, "forward", _norm_of(module)))
    return shortcuts


@contextmanager
def shortened(shortcuts: Sequence[Shortcut], hooks: Sequence[str]) -> Iterator[None]:
    """Inside the block modules take their shortcuts.

    Args:
        shortcuts: of the bridge.
        hooks: the names of all hooks of the pass: where one has attention scores, attention takes no shortcut.
    """
    has_scores = any(name.endswith(_SCORES) for name in hooks)
    taken = [shortcut for shortcut in shortcuts if not (has_scores and shortcut.name == "compatibility_mode")]
    # In the module's own attributes: a bridge passes an assignment on to the module that it wraps.
    before = [vars(module).get(name, _ABSENT) for module, name, _ in taken]
    try:
        for module, name, value in taken:
            vars(module)[name] = value
        yield
    finally:
        for (module, name, _), value in zip(taken, before, strict=True):
            if value is _ABSENT:
                vars(module).pop(name, None)
            else:
                vars(module)[name] = value


@contextmanager
def mlp_at_end(block: Any) -> Iterator[None]:
    """Inside the block of code the MLP of a block runs at END alone; None for no block.

    The norm before the MLP gets the last position only. So the MLP's output has one position, and the block adds it to
    the residual stream at all positions: those before END are wrong, and are not read.
    """

    def last_position(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return args[0][:, -1:], *args[1:]

    norm = getattr(block, "ln2", None)
    handle = norm.register_forward_pre_hook(last_position) if norm is not None else None
    try:
        yield
    finally:
        if handle:
            handle.remove()


def _gelu(value: Tensor) -> Tensor:
    return torch.nn.functional.gelu(value, approximate="tanh")


def _attention_of(bridge: Any) -> list[torch.nn.Module]:
    """The attention of each block, where it is in compatibility mode."""
    modules = [getattr(block, "attn", None) for block in bridge.blocks]
    return [attn for attn in modules if attn is not None and vars(attn).get("compatibility_mode")]


def _gives_own_norm(norm: Any) -> bool:
    """Whether a norm of the bridge gives what the model's own norm gives, unless a hook edits its parts."""
    own = norm.original_component
    if own is None or isinstance(own, torch.nn.Identity):
        return False
    if norm.use_native_layernorm_autograd or getattr(norm.config, "layer_norm_folding", False):
        return True
    if not isinstance(own, torch.nn.LayerNorm):
        return False
    return own.eps == getattr(norm.config, "eps", None) and norm.weight is own.weight


def _norm_of(norm: Any) -> Callable[..., Tensor]:
    """The forward of a norm of the bridge, without the parts that are for hooks where no hook is."""
    points, whole = (norm.hook_scale, norm.hook_normalized), type(norm).forward

    def forward(hidden_states: Tensor, **options: Any) -> Tensor:
        output: Tensor
        if any(point.fwd_hooks or point.bwd_hooks for point in points):
            output = whole(norm, hidden_states, **options)
        else:
            stream = norm.hook_in(hidden_states)
            output = norm.hook_out(norm.original_component(stream).to(stream.dtype))
        return output

    return forward
