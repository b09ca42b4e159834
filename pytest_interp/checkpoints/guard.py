"""What can be left behind on a model: hooks, changed weights, another mode. Fast enough to look after every claim."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from pytest_interp.checkpoints.memory import Memo
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.errors import NotOnDisk

if TYPE_CHECKING:
    from pytest_interp.cache import Cache


class State(NamedTuple):
    """A model at one moment: how many hooks it carries, a sum over the bits of its weights, and its mode."""

    hooks: int
    weights: int
    training: bool


class Guarded:
    """A model of which it is known whether it is as it was loaded, and what was measured of it as long as it is.

    Attributes:
        memo: measured activations, the last GB of them; emptied when the weights change.
        cache: measurements on disk, where that was asked for.
        damage: what was done to the weights, where its measurements are on disk too; else empty.
    """

    spec: CheckpointSpec

    def __init__(self) -> None:
        self.memo, self.damage = Memo(), ""
        self._model: Any = None
        self.cache: Cache | None = None
        self._weights: int | None = None
        self._loaded: State | None = None
        self._recalling = False
        self.release()

    def wake(self) -> None:
        """Loads the model where it was only known until now."""
        raise NotImplementedError

    @property
    def _bridge(self) -> Any:
        """The model. Whoever asks for it may change it: the guard looks at all weights afterwards.

        Raises:
            NotOnDisk: while measurements are only recalled.
        """
        if self._recalling:
            raise NotOnDisk
        if self._model is None:
            self.wake()
        self._weights = None
        return self._model

    @property
    def loaded(self) -> bool:
        """Whether there is a model; not where all that was asked for stood on disk."""
        return self._model is not None

    def release(self) -> None:
        """Lets go of the model and of all that was measured of it."""
        self.memo.clear()
        self._points: Mapping[str, Any] = {}
        self._parameters: tuple[Any, ...] = ()
        self._modules: tuple[Any, ...] = ()
        self._versions, self._weights, self._summed = 0, None, 0
        if self._model is not None:
            self._model = None
            gc.collect()

    def begin(self, bridge: Any) -> None:
        """From here on this is the model, and changes of it are seen."""
        self._model, self._points = bridge, dict(bridge.hook_dict)
        self._parameters, self._modules = tuple(bridge.original_model.parameters()), tuple(bridge.modules())
        self._loaded, self._versions = self.state(), versions(self._parameters)

    @property
    def attached(self) -> list[str]:
        """The hook points that carry a hook; of a checkpoint's own passes none is left."""
        return [name for name, point in self._points.items() if point.fwd_hooks or point.bwd_hooks]

    @property
    def memory(self) -> Memo:
        """The memo; an empty one while hooks are attached or parameters were changed in place, to be forgotten."""
        pristine = not self.attached and versions(self._parameters) == self._versions
        return self.memo if pristine else Memo()

    @property
    def trusted_cache(self) -> Cache | None:
        """The measurements on disk, where this is the model that its name and its fingerprint say."""
        known = self.spec.kind != "user" and self.memory is self.memo
        return self.cache if known and self.cache and not self.cache.off else None

    @contextmanager
    def scratch(self, damage: str = "") -> Iterator[None]:
        """An empty memo and none on disk: for weights or prompts that are of no use later.

        Args:
            damage: what is done to the weights meanwhile, all of it: then its measurements on disk are used.
        """
        kept = self.memo, self.cache, self.damage
        self.memo, self.cache, self.damage = Memo(), self.cache if damage else None, damage
        try:
            yield
        finally:
            self.memo, self.cache, self.damage = kept

    @contextmanager
    def recalling(self, damage: str) -> Iterator[None]:
        """Measurements of this damage as they are on disk, without doing it: what needs the model raises NotOnDisk."""
        with self.scratch(damage):
            self._recalling = True
            try:
                yield
            finally:
                self._recalling = False

    def state(self, *, whole: bool = False) -> State | None:
        """Hooks, weights and mode, to compare a model before and after; takes 0.2 s for 163M weights.

        None while there is no model yet that could be disturbed.

        Args:
            whole: look at all weights though nobody asked for the model since, because somebody may have them in hand
                (as always with a model that a user built).
        """
        if self._model is None:
            return None
        now = versions(self._parameters)
        if self._weights is None or self._summed != now or whole or self.spec.kind == "user":
            self._weights, self._summed = _weight_sum(self._model), now
        return State(_hook_count(self._modules), self._weights, bool(self._model.training))

    def disturbed(self, since: State | None = None, *, whole: bool = False) -> list[str]:
        """What was left behind, since loading or since a :meth:`state`: hooks, changed weights, train mode."""
        now = self.state(whole=whole)
        before = since or self._loaded
        return changes(before, now) if before and now else []


def changes(before: State, after: State) -> list[str]:
    """What is different, in words."""
    found = []
    if extra := after.hooks - before.hooks:
        found.append(f"{extra} hook{'s' if extra != 1 else ''} attached")
    if after.weights != before.weights:
        found.append("changed weights")
    if after.training != before.training:
        found.append(f"the model in {'train' if after.training else 'eval'} mode")
    return found


def versions(parameters: Iterable[Any]) -> int:
    """A number that grows with each change of a parameter in place (not through ``.data``)."""
    return sum(parameter._version for parameter in parameters)


def _weight_sum(bridge: Any) -> int:
    """An integer sum over the bits of all weights, weighted by row and by column: an exchange of either shows."""
    kinds = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    total = 0
    for parameter in bridge.original_model.parameters():
        bits = parameter.detach().contiguous()
        # Eight bytes at a time where a row can be cut so: no conversion is needed, and it is ten times as fast.
        wide = bits.ndim and bits.shape[-1] * bits.element_size() % 8 == 0
        bits = bits.view(torch.int64 if wide else kinds[bits.element_size()])
        bits = bits.reshape(len(bits), -1) if bits.ndim else bits.reshape(1, 1)
        for sums in (bits.sum(0, dtype=torch.int64), bits.sum(1, dtype=torch.int64)):
            total += int((sums * torch.arange(1, len(sums) + 1, device=sums.device)).sum())
    return total


def _hook_count(modules: Iterable[Any]) -> int:
    # transformers installs hooks of its own, once and for good, when outputs are first captured.
    return sum(
        not str(getattr(hook, "__module__", "")).startswith("transformers.")
        for module in modules
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    )
