"""Workers of pytest-xdist: which claims each of them gets. Every worker loads a model of its own.

Only the controller of pytest-xdist imports this module.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from typing import Any

import pytest
from xdist.scheduler import LoadScheduling

from pytest_interp.plugin.deselection import plan_of

_CHUNK = 2
"""How many claims a worker is sent at a time: one takes seconds, and what is sent cannot go to another worker."""
_WORTH_LOADING = 12
"""A worker whose checkpoint is done loads another worker's, too, if so many of its claims wait for each worker."""


class ByCheckpoint(LoadScheduling):  # type: ignore[misc]
    """The scheduling of ``--dist load``, except that a worker gets claims of one checkpoint until none is left.

    A worker begins a checkpoint that no other worker has. If there is none, it shares the one of which most claims wait
    for each worker. A worker that has had a checkpoint loads a second one only where enough claims wait; else it ends.

    Claims of one file ask for the same runs, which a worker computes once. So workers that share a checkpoint take one
    file each, in the order of collection; where no other file is left, they share one.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._checkpoint: dict[Any, str] = {}
        self._file: dict[Any, str] = {}

    @cached_property
    def _names(self) -> list[str]:
        """The checkpoint of each collected test; empty for one that loads none."""
        claims = plan_of(self.config).claims
        return [claims.get(test, "") for test in self.collection or ()]

    @cached_property
    def _files(self) -> list[str]:
        """The file of each collected test."""
        return [test.partition("::")[0] for test in self.collection or ()]

    def schedule(self) -> None:
        """Sends the first tests to each worker, and more to one that waits: it begins a test when it has the next."""
        super().schedule()
        for worker in self.nodes if any(self._names) else ():
            while not worker.shutting_down and len(self.node2pending[worker]) < 2:
                self._send_tests(worker, 2)

    def _send_tests(self, node: Any, num: int) -> None:
        """Sends a worker up to ``num`` tests that suit it; ends the worker where none is left for it."""
        if not any(self._names):
            super()._send_tests(node, num)
            return
        suitable = self._suitable(node)[: min(num, _CHUNK)]
        if not suitable:
            node.shutdown()
            return
        sent = set(suitable)
        self.pending[:] = [index for index in self.pending if index not in sent]
        self.node2pending[node].extend(suitable)
        node.send_runtest_some(suitable)

    def _suitable(self, worker: Any) -> list[int]:
        """The pending tests that a worker may run next: of a file of its checkpoint, else those that load none."""
        waiting = Counter(self._names[index] for index in self.pending if self._names[index])
        if waiting and self._checkpoint.get(worker) not in waiting:
            self._choose(worker, waiting)
        own = self._checkpoint.get(worker)
        by_file: dict[str, list[int]] = {}
        for index in self.pending:
            if self._names[index] and self._names[index] == own:
                by_file.setdefault(self._files[index], []).append(index)
        if not by_file:
            return [index for index in self.pending if not self._names[index]]
        if self._file.get(worker) not in by_file:
            taken = {self._file.get(other) for other in self.nodes if self._checkpoint.get(other) == own}
            self._file[worker] = next((file for file in by_file if file not in taken), list(by_file)[-1])
        return by_file[self._file[worker]]

    def _choose(self, worker: Any, waiting: Counter[str]) -> None:
        """Gives a worker its next checkpoint, if there is one that it should begin or share.

        Args:
            worker: whose checkpoint has no pending claims; or it has had none yet.
            waiting: the number of pending claims by checkpoint.
        """
        others = Counter(
            self._checkpoint.get(other) for other in self.nodes if other is not worker and not other.shutting_down
        )
        # One that no other worker has comes before all that others have.
        name = max(waiting, key=lambda name: waiting[name] / others[name] if others[name] else math.inf)
        is_worth_loading = waiting[name] >= _WORTH_LOADING * others[name]
        if worker not in self._checkpoint or is_worth_loading:
            self._checkpoint[worker] = name
            self._file.pop(worker, None)  # a file may have claims of both checkpoints
