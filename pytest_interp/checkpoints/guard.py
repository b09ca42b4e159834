"""Checks that a model is as it was loaded, and holds the results that are valid only while it is.

A claim can change the model and change it back. So a result belongs to a state of the model. Before each measurement
the state is read: weights, hooks, modules with their attributes, functions and settings. Where one of them is not as it
was, and after each claim in any case, the fixed prompts are run too. The state is one of three:

1. as it was loaded: results are read from the memo (and the disk) and kept there;
2. within announced damage (:meth:`Guard.isolated_memory`): the same, in a memo of its own; the first measurement inside
   says what the damaged state is;
3. anything else: the measurement runs on whole passes and its results are forgotten.
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
from pytest_interp.checkpoints.memo import Memo, capacity_of
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
from pytest_interp.errors import UsageError

if TYPE_CHECKING:
    from pytest_interp.cache.store import Cache


@dataclass(frozen=True)
class Look:
    """What a check of the model before a measurement allows.

    Attributes:
        memo: results that are valid in this state; a throw-away one where the model has foreign hooks or edited
            parameters.
        cache: measurements on disk; None where they must not be used.
        foreign: whether the model is in an unannounced state, in which only whole passes are known to be right.
        digest: a hash of the state, for the keys of measurements on disk; empty where it is foreign.
    """

    memo: Memo
    cache: Cache | None
    foreign: bool
    digest: str


_guards: WeakSet[Guard] = WeakSet()


def _new_locks() -> None:
    """Gives each guard a new lock in a forked child, where the thread that held the old one does not exist."""
    for guard in list(_guards):
        guard.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_locks)


class Guard:
    """Tracks whether a model still equals its loaded state, and holds results that are valid only while it does.

    Attributes:
        memo: activations and scores of the model as it was loaded, the last used ones; within
            :meth:`isolated_memory` another one.
        cache: measurements on disk, where that was asked for.
        damage: what was done to the weights, where its measurements are on disk too; else empty.
        processes: how many share the machine's memory, each with a memo of its own.
        lock: held during a pass, since a pass removes the hooks of another thread's measurement.
    """

    def __init__(self, name: str, *, on_disk: bool) -> None:
        """A guard that has no model yet.

        Args:
            name: of the checkpoint, for messages.
            on_disk: whether its measurements may be kept on disk: not those of a model that only this process has.
        """
        self.name, self.on_disk = name, on_disk
        self.memo, self.damage = Memo(), ""
        self.cache: Cache | None = None
        self.processes = 1
        self.lock = threading.RLock()
        self._looks = threading.local()
        self._process: Process | None = None
        self._hook_points: Mapping[str, Any] = {}
        self._loaded: State | None = None
        self._reference: State | None = None
        self._seen: State | None = None
        self._bridge: Any = None
        _guards.add(self)

    def release(self) -> None:
        """Drops the model and all results."""
        self.memo.clear()
        self._hook_points = {}
        was_loaded = self._bridge is not None
        self._loaded = self._reference = self._seen = self._bridge = None
        if was_loaded:  # its modules refer to each other
            gc.collect()

    def begin(self, bridge: Any, precision: str) -> None:
        """Takes a model, and records its state as the loaded one.

        Args:
            bridge: as it was loaded.
            precision: what its float noise follows from.
        """
        self._bridge, self._precision, self._hook_points = bridge, precision, dict(bridge.hook_dict)
        device = next(bridge.parameters()).device
        self.memo.capacity = self._capacity = capacity_of(device, self.processes)
        rows, length = FIXED_PROMPTS
        self._fixed_prompts = fixed_tokens(bridge.cfg.d_vocab, (rows, min(length, bridge.cfg.n_ctx)), seed=3).to(device)
        self._functions = Functions(bridge)
        if self._process is None:
            # A model may be loaded anew within a context, such as no_grad, that ends.
            self._process = Process()
        self._loaded = self._reference = self.state(outputs=True)._replace(settings=self._process.settings)

    def share_memory(self, processes: int) -> None:
        """Leaves memory of the CPU to other processes that measure, each with a memo of its own.

        Args:
            processes: how many share the machine's memory, this one included.
        """
        self.processes = processes
        self.memo.capacity = self._capacity = capacity_of(next(self.bridge.parameters()).device, processes)

    @property
    def bridge(self) -> Any:
        """The model.

        Raises:
            UsageError: there is none: it could not be loaded anew.
        """
        if self._bridge is None:
            raise UsageError(f"{self.name} could not be loaded anew after it had been changed; nothing is asked of it")
        return self._bridge

    @property
    def has_model(self) -> bool:
        """Whether there is a model; there is none after loading it anew has failed."""
        return self._bridge is not None

    @property
    def foreign_hooks(self) -> list[str]:
        """The names of the hook points with a foreign hook; a checkpoint's own passes leave none."""
        return [
            name
            for name, point in self._hook_points.items()
            if not all(map(is_of_bridge, (*point.fwd_hooks, *point.bwd_hooks)))
        ]

    # ---- results that belong to a state

    @property
    def is_measuring(self) -> bool:
        """Whether this thread is within a measurement."""
        return getattr(self._looks, "current", None) is not None

    @contextmanager
    def measuring(self) -> Iterator[Look]:
        """One measurement: checks the model once, as it begins. Within another measurement that one's check holds.

        Yields:
            What the check allows.
        """
        outer: Look | None = getattr(self._looks, "current", None)
        if outer is not None:
            yield outer
            return
        with self.lock:
            self._looks.current = self._look()
            try:
                yield self._looks.current
            finally:
                self._looks.current = None

    def _look(self) -> Look:
        """Reads the state, and compares it with the one in which results are valid (``_reference``)."""
        state = self.state()
        if self._reference is None:  # the first measurement within damage: from now on this is the valid state
            self._reference = state
        assert self._loaded is not None
        if not (state.same_apart_from_weights(self._loaded) and state.same_numbers(self._reference)):
            return Look(Memo(), None, True, "")
        usable = self.cache is not None and not self.cache.disabled_reason and self.on_disk
        return Look(self.memo, self.cache if usable else None, False, state.digest)

    @property
    def memory(self) -> Memo:
        """The memo, or a throw-away one while the model has foreign hooks or edited parameters."""
        with self.measuring() as look:
            return look.memo

    @contextmanager
    def isolated_memory(self, damage: str = "") -> Iterator[None]:
        """Uses an empty memo and no disk cache inside the block: for temporary weights or prompts.

        Args:
            damage: a full description of what is done to the weights inside the block. With it the disk cache is used,
                under keys of this damage. Empty: no disk cache.
        """
        outside, bridge, reference = (self.memo, self.cache, self.damage), self._bridge, self._reference
        look: Look | None = getattr(self._looks, "current", None)
        capacity = max(self._capacity - self.memo.used, self._capacity // 4)  # the outer memo stays
        self.memo, self.cache, self.damage = Memo(capacity), self.cache if damage else None, damage
        self._reference = self._looks.current = None
        try:
            yield
        finally:
            self.memo, self.cache, self.damage = outside
            # If the model was loaded anew inside the block, its loaded state is the valid one.
            self._reference = reference if self._bridge is bridge else self._loaded
            self._looks.current = look

    # ---- changes

    def state(self, *, outputs: bool = False) -> State:
        """The current state of the model; reads all its weights.

        Args:
            outputs: whether the fixed prompts are run in any case; else only where something that can be listed is not
                as it was when they were last run.
        """
        seen = None if outputs else self._seen
        self._seen = state_of(self.bridge, self._functions, self._outputs, self._loaded, seen)
        return self._seen

    def _outputs(self) -> Outputs:
        return outputs_of(self._bridge, self._hook_points, self._fixed_prompts)

    def changes_since_load(self) -> list[str]:
        """What is different from the model as it was loaded, in words: ``["1 hook attached", "changed weights"]``."""
        return changes(self._loaded, self.state(outputs=True), self._precision) if self._loaded else []

    def restore_process(self) -> None:
        """Puts back the functions and settings of the process that were replaced since the model was loaded."""
        self._functions.restore()
        if self._process is not None:
            self._process.restore()
