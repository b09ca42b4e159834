"""What an assertion asks: a measurement with its arguments, of heads on a model, and what is demanded of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from pytest_interp.assertions.demands import Demands
from pytest_interp.assertions.members import HeadSet
from pytest_interp.assertions.other_tasks import Knockout
from pytest_interp.heads import Head
from pytest_interp.measurement import Measurement
from pytest_interp.verdict.bound import Bound

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment
    from pytest_interp.table import Table

On = TypeVar("On", "Experiment", "Checkpoint")
P = ParamSpec("P")


@dataclass(frozen=True)
class Measure(Generic[On]):
    """A measurement with its arguments, which stand once for the claimed heads, their controls and the sweep.

    Attributes:
        of: the measurement, of heads on an experiment (or checkpoint).
        sweep: the same measurement on every head of the model, where that is cheap; None where it is not.
    """

    of: Callable[[On, tuple[Head, ...]], Measurement]
    sweep: Callable[[On], Table[Head]] | None = None

    @classmethod
    def of_heads(
        cls,
        function: Callable[Concatenate[On, tuple[Head, ...], P], Measurement],
        sweep: Callable[Concatenate[On, P], Table[Head]] | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Measure[On]:
        """A measurement of several heads together.

        Args:
            function: takes an experiment (or checkpoint), heads, and the arguments.
            sweep: takes the same without heads; None where sweeping is not cheap.
            *args: of both.
            **kwargs: of both.

        Returns:
            The measurement with its arguments, and the sweep with the same ones.
        """

        def of(on: On, heads: tuple[Head, ...]) -> Measurement:
            """The measurement of heads."""
            return function(on, heads, *args, **kwargs)

        return cls(of, None if sweep is None else lambda on: sweep(on, *args, **kwargs))

    @classmethod
    def of_head(
        cls,
        function: Callable[Concatenate[On, Head, P], Measurement],
        sweep: Callable[Concatenate[On, P], Table[Head]] | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Measure[On]:
        """A measurement of one head.

        Args:
            function: takes an experiment (or checkpoint), a head, and the arguments.
            sweep: takes the same without a head; None where sweeping is not cheap.
            *args: of both.
            **kwargs: of both.

        Returns:
            The measurement with its arguments, and the sweep with the same ones.
        """

        def of_first(on: On, heads: tuple[Head, ...], /, *args: P.args, **kwargs: P.kwargs) -> Measurement:
            """The measurement of the first head."""
            return function(on, heads[0], *args, **kwargs)

        return cls.of_heads(of_first, sweep, *args, **kwargs)

    @classmethod
    def of_model(
        cls, function: Callable[Concatenate[On, P], Measurement], *args: P.args, **kwargs: P.kwargs
    ) -> Measure[On]:
        """A measurement of the model as a whole.

        Args:
            function: takes an experiment (or checkpoint), and the arguments.
            *args: of the function.
            **kwargs: of the function.

        Returns:
            The measurement with its arguments; heads do not change it.
        """
        return cls(lambda on, _: function(on, *args, **kwargs))


@dataclass(frozen=True)
class Question(Generic[On]):
    """What an assertion asks, of a model and of heads that can be exchanged for others.

    Attributes:
        on: an experiment, or a checkpoint for what weights alone say.
        measure: the measurement with its arguments.
        demands: the accepted region, and what is demanded of controls and members.
        subject: for records and failures.
        heads: the claimed heads; none for a claim about the model as a whole.
        excluded: heads that are part of the question too, and so no controls.
        shared: what is measured belongs to key-value heads, so that query heads of one group are one head.
        sets: the sets of heads that the claim names; by default its heads, where the measurement is their effect.
        knockout: what is knocked out, for a control on another task; None where nothing is.
        caveats, notes: what the assertion adds to those of the verdict.
    """

    on: On
    measure: Measure[On]
    demands: Demands
    subject: str
    heads: tuple[Head, ...] = ()
    shared: bool = False
    excluded: frozenset[Head] = frozenset()
    sets: tuple[HeadSet, ...] | None = None
    knockout: Knockout | None = None
    caveats: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def bound(self) -> Bound:
        """The accepted region of the number itself."""
        return self.demands.bound

    @property
    def head_sets(self) -> tuple[HeadSet, ...]:
        """The sets of heads whose members are looked at."""
        return (HeadSet(self.heads, self.of),) if self.sets is None else self.sets

    @property
    def checkpoint(self) -> Checkpoint:
        """The model that is asked."""
        on: Any = self.on
        checkpoint: Checkpoint = getattr(on, "checkpoint", on)
        return checkpoint

    @property
    def seed(self) -> int:
        """The seed of random draws, such as control heads: the experiment's; 0 for a checkpoint."""
        return int(getattr(self.on, "seed", 0))

    def of(self, heads: tuple[Head, ...], on: On | None = None) -> Measurement:
        """The same question, of other heads or on another experiment.

        Args:
            heads: the heads that are measured.
            on: an experiment or checkpoint; by default the question's own.

        Returns:
            The measurement.
        """
        return self.measure.of(self.on if on is None else on, heads)
