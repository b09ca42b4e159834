"""Hooks at points of a bridge: they replace or keep activations during a pass, and are removed after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Edit: TypeAlias = Callable[["Tensor"], "Tensor"]
"""Replaces an activation: gets it, returns another of the same shape."""

Hook: TypeAlias = Callable[["Tensor", Any], "Tensor | None"]
"""What TransformerLens calls at a hook point; its second argument has to be named ``hook``."""

_LEVEL = 7461
"""Marks our hooks among those of others; TransformerLens counts its own from 0."""


@contextmanager
def hooked(points: Mapping[str, Any], hooks: Sequence[tuple[str, Hook]]) -> Iterator[None]:
    """Attaches hooks inside the block.

    The bridge has a context manager for this, which walks all its modules each time.

    Args:
        points: the hook points by name.
        hooks: hook names and hooks, in the order in which they are called.
    """
    try:
        for name, hook in hooks:
            points[name].add_hook(hook, level=_LEVEL)
        yield
    finally:
        for name in {name for name, _ in hooks}:
            points[name].remove_hooks(level=_LEVEL)


def hooks_of(edits: Mapping[str, Edit], keep: Sequence[str], activations: dict[str, Tensor]) -> list[tuple[str, Hook]]:
    """Hooks that replace activations, and hooks that keep activations as they are after that.

    Args:
        edits: by hook name.
        keep: hook names.
        activations: filled by the pass, by hook name.
    """

    def editing(edit: Edit) -> Hook:
        return lambda value, hook: edit(value)  # noqa: ARG005

    return [
        *((name, editing(edit)) for name, edit in edits.items()),
        *((name, storing(activations, name)) for name in keep),
    ]


def storing(activations: dict[str, Tensor], name: str) -> Hook:
    """A hook that puts an activation into a dictionary, under a name."""

    def store(value: Tensor, hook: Any) -> None:  # noqa: ARG001
        activations[name] = value.detach()

    return store


def is_of_bridge(handle: Any) -> bool:
    """Whether a hook is part of the bridge: TransformerLens joins parts of some architectures (OPT) by hooks."""
    hook = getattr(handle, "user_hook", None)
    return bool(handle.is_permanent) and getattr(hook, "__module__", "").startswith("transformer_lens.")


def with_other_layers(points: Collection[str], hooks: Sequence[str], n_layers: int) -> list[str]:
    """These hook names, and those of the same sites in all other layers that have them.

    Args:
        points: the names of all hook points.
        hooks: hook names.
        n_layers: of the model.

    Example:
        >>> with_other_layers(["blocks.0.hook_mlp_out", "blocks.2.hook_mlp_out"], ["blocks.0.hook_mlp_out"], 3)
        ['blocks.0.hook_mlp_out', 'blocks.2.hook_mlp_out']
    """
    names = dict.fromkeys(hooks)  # a set that keeps its order
    for hook in hooks:
        if hook.startswith("blocks."):
            site = hook.split(".", 2)[2]
            in_layers = (f"blocks.{layer}.{site}" for layer in range(n_layers))
            names |= dict.fromkeys(name for name in in_layers if name in points)
    return list(names)
