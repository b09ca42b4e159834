"""Whether a model is as it was loaded; what was measured of it is kept only while it is.

Whoever has a claim in hand can change the model and change it back. So what is kept belongs to a state: before each
measurement the model is looked at, and a number of another state is neither read nor kept.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from pytest_interp.checkpoints.hooks import is_of_bridge
from pytest_interp.checkpoints.memo import Memo
from pytest_interp.checkpoints.model_state import (
    FIXED_PROMPTS,
    Outputs,
    State,
    changes,
    fixed_tokens,
    outputs_of,
    state_of,
)
from pytest_interp.checkpoints.process_state import Functions, Process
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.errors import UsageError

if TYPE_CHECKING:
    from pytest_interp.cache.store import Cache


@dataclass(frozen=True)
class Look:
    """What was seen of a model before a measurement.

    Attributes:
        memo: what was computed in this state; empty, to be forgotten, where it is not the state that others measure.
        cache: measurements on disk; None where they must not be used.
        foreign: whether it is in a state that nobody announced, so that only whole passes are surely right.
        digest: of the state, for the names of measurements on disk.
    """

    memo: Memo
    cache: Cache | None
    foreign: bool
    digest: str


_OPEN = ("memo", "cache", "damage", "budget", "exact")
"""Attributes of a loaded checkpoint that may be set: they change no number."""

_guarded: WeakSet[Guarded] = WeakSet()


def _unlock_all() -> None:
    """In a forked child no other thread holds a lock."""
    for checkpoint in list(_guarded):
        checkpoint._unlock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_all)


class Guarded:
    """A model of which it is known whether it is as it was loaded, and what was measured of it as long as it is.

    Attributes:
        memo: measured activations, the last GB of them; they belong to the state that the model was loaded in.
        cache: measurements on disk, where that was asked for.
        damage: what was done to the weights, where its measurements are on disk too; else empty.
    """

    spec: CheckpointSpec
    name: str
    precision: str
    _sealed = False

    def __init__(self) -> None:
        self.memo, self.damage = Memo(), ""
        self.cache: Cache | None = None
        self._looks = threading.local()
        self._process: Process | None = None
        self._unlock()
        _guarded.add(self)
        self.release()

    def __setattr__(self, name: str, value: Any) -> None:
        if self._sealed and not name.startswith("_") and name not in _OPEN:
            raise AttributeError(f"{name} of a checkpoint cannot be set: all claims share it")
        super().__setattr__(name, value)

    def _unlock(self) -> None:
        # Hooks of one measurement would be taken away by another thread's.
        self._lock = threading.RLock()

    def load(self) -> None:
        """Loads the model from its source."""
        raise NotImplementedError

    @property
    def _bridge(self) -> Any:
        """The model.

        Raises:
            UsageError: there is none, since it could not be loaded anew.
        """
        if self._model is None:
            raise UsageError(f"{self.name} could not be loaded anew after it had been changed; nothing is asked of it")
        return self._model

    @property
    def is_there(self) -> bool:
        """Whether there is a model: not after it could not be loaded anew."""
        return self._model is not None

    def release(self) -> None:
        """Lets go of the model and of all that was measured of it."""
        self._sealed = False
        self.memo.clear()
        self._points: Mapping[str, Any] = {}
        self._loaded: State | None = None
        self._reference: State | None = None
        self._model: Any = None
        gc.collect()

    def begin(self, bridge: Any) -> None:
        """From here on this is the model, and changes of it are seen."""
        self._model, self._points = bridge, dict(bridge.hook_dict)
        place = next(bridge.parameters()).device
        rows, length = FIXED_PROMPTS
        self._fixed_prompts = fixed_tokens(bridge.cfg.d_vocab, (rows, min(length, bridge.cfg.n_ctx)), seed=3).to(place)
        self._functions = Functions(bridge)
        if self._process is None:
            # A model may be loaded anew within a context, such as no_grad, that ends.
            self._process = Process()
        self._loaded = self._reference = self.state()._replace(settings=self._process.settings)
        self._sealed = True

    @property
    def attached(self) -> list[str]:
        """The hook points that carry a hook of others; of a checkpoint's own passes none is left."""
        return [
            name
            for name, point in self._points.items()
            if not all(map(is_of_bridge, (*point.fwd_hooks, *point.bwd_hooks)))
        ]

    # ---- what is kept

    @property
    def is_measuring(self) -> bool:
        """Whether this thread is within a measurement."""
        return getattr(self._looks, "current", None) is not None

    @contextmanager
    def measuring(self) -> Iterator[Look]:
        """One measurement: the model is looked at once, as it begins; what is computed belongs to what was seen."""
        outer: Look | None = getattr(self._looks, "current", None)
        if outer is not None:
            yield outer
            return
        with self._lock:
            self._looks.current = self._look()
            try:
                yield self._looks.current
            finally:
                self._looks.current = None

    def _look(self) -> Look:
        now = self.state()
        if self._reference is None:  # within damage, of which the first measurement is the model's
            self._reference = now
        assert self._loaded is not None
        if not (now.same_apart_from_weights(self._loaded) and now.same_numbers(self._reference)):
            return Look(Memo(), None, True, "")
        usable = self.cache is not None and not self.cache.off and self.spec.kind != "user"
        return Look(self.memo, self.cache if usable else None, False, now.digest)

    @property
    def memory(self) -> Memo:
        """What was computed of the model as it is now."""
        with self.measuring() as look:
            return look.memo

    @contextmanager
    def scratch(self, damage: str = "") -> Iterator[None]:
        """An empty memo and none on disk: for weights or prompts that are of no use later.

        Args:
            damage: what is done to the weights meanwhile, all of it: then its measurements on disk are used.
        """
        saved, model = (self.memo, self.cache, self.damage), self._model
        reference = self._reference
        outer: Look | None = getattr(self._looks, "current", None)
        self.memo, self.cache, self.damage = Memo(), self.cache if damage else None, damage
        self._reference = self._looks.current = None
        try:
            yield
        finally:
            self.memo, self.cache, self.damage = saved
            # A model that was loaded anew meanwhile is not the one of before.
            self._reference = reference if self._model is model else self._loaded
            self._looks.current = outer

    # ---- what is left behind

    def state(self) -> State:
        """The model as it is now; takes a pass over two short prompts, and as long as its weights take to be read."""
        return state_of(self._bridge, self._functions, self._outputs, self._loaded)

    def _outputs(self) -> Outputs:
        return outputs_of(self._model, self._points, self._fixed_prompts)

    def disturbed(self) -> list[str]:
        """What was left behind since loading, in words."""
        return changes(self._loaded, self.state(), self.precision) if self._loaded else []

    def restore(self) -> str:
        """Makes the model and the process what they were when it was loaded; says how."""
        self._functions.restore()
        if self._process is not None:
            self._process.restore()
        if not self.disturbed():
            return "all was put back"
        self.load()
        return "the model was loaded anew"
