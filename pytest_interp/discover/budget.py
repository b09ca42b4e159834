"""How long a discovery may take, and the lines that say what it does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Budget:
    """The time of a discovery.

    Attributes:
        seconds: how long it may take; None without a limit.
        say: gets each line of progress.
        started: when it began, by the clock of ``time.monotonic``.
        stages: how long each stage took, in seconds.
        interrupted: whether somebody ended it early.
    """

    seconds: float | None = None
    say: Callable[[str], object] = lambda text: print(text, file=sys.stderr, flush=True)
    started: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.started

    def is_over(self, share: float = 1.0) -> bool:
        """Whether a share of the time is used up, or somebody ended it early."""
        return self.interrupted or (self.seconds is not None and self.spent >= share * self.seconds)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A context that an interrupt ends, and with it the time; what was found until then is there."""
        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Times a stage; at its end a line says what came of it.

        Args:
            name: of the stage.

        Yields:
            A function that takes what came of it.
        """
        begin, outcome = time.monotonic(), ["interrupted"]
        try:
            yield lambda text: outcome.__setitem__(0, text)
        finally:
            self.stages[name] = time.monotonic() - begin
            self.say(f"{name}: {outcome[0]} ({self.stages[name]:.1f} s)")
