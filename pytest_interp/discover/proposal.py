"""What a discovery gives: the results of its stages, as far as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_interp.discover.alternative import Alternative
from pytest_interp.discover.capability import Capability
from pytest_interp.discover.confirmation import Confirmation
from pytest_interp.discover.curve import Curve
from pytest_interp.discover.effects import Effects
from pytest_interp.discover.paths import Edge
from pytest_interp.discover.redraws import Redraws
from pytest_interp.discover.roles import Roles
from pytest_interp.discover.selection import Selection
from pytest_interp.discover.stability import Stability

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment


@dataclass(frozen=True)
class Proposal:
    """A proposed circuit, with the result of each stage; None for a stage that was not reached.

    Attributes:
        finding: checkpoint and prompts on which the circuit was looked for.
        confirming: checkpoint and prompts on which it was tested.
        task: the name of the task, as it was passed.
        seed: of the run.
        capability: stage 1.
        effects: stage 2.
        edges: stage 3.
        roles: stage 4.
        selection: stage 5.
        stability: stage 6.
        redraws: of stage 6, where it was asked for.
        confirmation: stage 7.
        curve: stage 8.
        alternative: stage 9.
        seconds: how long each stage took.
        interrupted: why not all stages were made; empty where they were.
    """

    finding: Experiment
    confirming: Experiment
    task: str
    seed: int
    capability: Capability | None = None
    effects: Effects | None = None
    edges: tuple[Edge, ...] | None = None
    roles: Roles | None = None
    selection: Selection | None = None
    stability: Stability | None = None
    redraws: Redraws | None = None
    confirmation: Confirmation | None = None
    curve: Curve | None = None
    alternative: Alternative | None = None
    seconds: Mapping[str, float] | None = None
    interrupted: str = ""

    @property
    def reason(self) -> str:
        """Why there is no circuit; empty where there is one."""
        if self.capability is not None and self.capability.reason:
            return self.capability.reason
        if self.selection is None or not self.selection.places:
            return self.interrupted or "no set of heads is faithful"
        return ""
