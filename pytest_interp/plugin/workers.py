"""Workers of pytest-xdist: the claims of a checkpoint go to as few of them as possible, since each loads its own.

Only the controller of pytest-xdist imports this module.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

import pytest
from xdist.scheduler import LoadScheduling

from pytest_interp.plugin.deselection import plan_of


class ByCheckpoint(LoadScheduling):  # type: ignore[misc]
    """The scheduling of ``--dist load``, except that a worker gets claims of one checkpoint until none is left.

    A worker begins a checkpoint that no other worker has. If there is none, a worker that has had no claim yet shares
    one, and any other worker ends. So with at least as many workers as checkpoints none loads two, and with fewer
    workers each checkpoint is loaded once.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._checkpoint: dict[Any, str] = {}

    @cached_property
    def _names(self) -> list[str]:
        """The checkpoint of each collected test; empty for one that loads none."""
        claims = plan_of(self.config).claims
        return [claims.get(test, "") for test in self.collection or ()]

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
        suitable = self._suitable(node)[:num]
        if not suitable:
            node.shutdown()
            return
        sent = set(suitable)
        self.pending[:] = [index for index in self.pending if index not in sent]
        self.node2pending[node].extend(suitable)
        node.send_runtest_some(suitable)

    def _suitable(self, worker: Any) -> list[int]:
        """The pending tests that a worker may run: of its checkpoint, else those that load none."""
        waiting = Counter(self._names[index] for index in self.pending if self._names[index])
        if waiting and self._checkpoint.get(worker) not in waiting:
            taken = Counter(
                self._checkpoint.get(other) for other in self.nodes if other is not worker and not other.shutting_down
            )
            free = [name for name in waiting if not taken[name]]
            if free:
                self._checkpoint[worker] = free[0]
            elif worker not in self._checkpoint:
                self._checkpoint[worker] = max(waiting, key=lambda name: waiting[name] / taken[name])
        own = self._checkpoint.get(worker)
        return [index for index in self.pending if own and self._names[index] == own] or [
            index for index in self.pending if not self._names[index]
        ]
