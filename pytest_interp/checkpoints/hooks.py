"""Hooks at points of a bridge: what replaces an activation, what keeps one, and none of them afterwards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Edit: TypeAlias = Callable[["Tensor"], "Tensor"]
"""What replaces an activation: gets it, returns another of the same shape."""

Hook: TypeAlias = Callable[["Tensor", Any], "Tensor | None"]
"""What TransformerLens calls at a hook point; its second argument has to be named ``hook``."""

_LEVEL = 7461
"""Marks our hooks among those of others; TransformerLens counts its own from 0."""


@contextmanager
def hooked(points: Mapping[str, Any], hooks: Sequence[tuple[str, Hook]]) -> Iterator[None]:
    """Hooks at points, and none of them afterwards; the bridge's own way walks all its modules each time."""
    try:
        for name, hook in hooks:
            points[name].add_hook(hook, level=_LEVEL)
        yield
    finally:
        for name in {name for name, _ in hooks}:
            points[name].remove_hooks(level=_LEVEL)


def hooks_of(edits: Mapping[str, Edit], keep: Sequence[str], kept: dict[str, Tensor]) -> list[tuple[str, Hook]]:
    """Hooks that replace activations, and then keep some by name."""

    def editing(edit: Edit) -> Hook:
        return lambda value, hook: edit(value)  # noqa: ARG005

    return [
        *((name, editing(edit)) for name, edit in edits.items()),
        *((name, storing(kept, name)) for name in keep),
    ]


def storing(kept: dict[str, Tensor], name: str) -> Hook:
    """A hook that keeps an activation."""

    def store(value: Tensor, hook: Any) -> None:  # noqa: ARG001
        kept[name] = value.detach()

    return store


def is_of_bridge(handle: Any) -> bool:
    """Whether a hook is part of the bridge: TransformerLens joins parts of some architectures (OPT) by hooks."""
    hook = getattr(handle, "user_hook", None)
    return bool(handle.is_permanent) and getattr(hook, "__module__", "").startswith("transformer_lens.")


def with_other_layers(points: Collection[str], hooks: Sequence[str], n_layers: int) -> list[str]:
    """These hook names, and the same ones of all other layers that have them."""
    found = dict.fromkeys(hooks)
    for hook in hooks:
        first, _, rest = hook.partition(".")
        if first == "blocks":
            more = (f"blocks.{layer}.{rest.partition('.')[2]}" for layer in range(n_layers))
            found |= dict.fromkeys(name for name in more if name in points)
    return list(found)
