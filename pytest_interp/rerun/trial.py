"""Runs a claim again under other conditions: on damaged weights, by another protocol, in other batches.

The claim's own function is called once more with the values of its fixtures; experiments among them are replaced by
changed ones. Nothing fails, and nothing is compared with a snapshot: the result is returned as a ``Trial``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from unittest import SkipTest

import pytest

from pytest_interp.circuit import Circuit
from pytest_interp.common.compat import without_database_and_shrinking
from pytest_interp.engine import Experiment
from pytest_interp.errors import ClaimFailed, NotApplicable
from pytest_interp.heads import Head
from pytest_interp.ledger.record import Record
from pytest_interp.ledger.reruns import Seen
from pytest_interp.tasks.protocols import Protocol
from pytest_interp.verdict import recording


@dataclass(frozen=True)
class Trial:
    """The result of running a claim again.

    Attributes:
        seen: ``killed`` if a verdict was refuted; ``survived`` if all were supported.
        records: of its verdicts.
        reason: why it was not applicable, inconclusive or an error.
    """

    seen: Seen
    records: list[Record]
    reason: str = ""


@dataclass(frozen=True)
class Body:
    """A claim's function with the values of its fixtures.

    Attributes:
        function: the claim.
        arguments: the values of its fixtures, by argument name.
    """

    function: Callable[..., Any]
    arguments: Mapping[str, Any]

    @property
    def has_prompts(self) -> bool:
        """Whether an argument is an experiment, or builds one, so that a protocol changes what is measured."""
        return any(isinstance(value, Experiment) or _builds(value) for value in self.arguments.values())

    def by(self, protocol: Protocol) -> Body:
        """The claim on data sets that a protocol has changed, those included that its fixtures build on demand."""

        def changed(value: Any) -> Any:
            if isinstance(value, Experiment):
                return replace(value, data=protocol(value.data))
            if _builds(value):
                return lambda *args, **kwargs: changed(value(*args, **kwargs))
            return value

        return replace(self, arguments={name: changed(value) for name, value in self.arguments.items()})

    def naming(self, partner: Mapping[Head, Head]) -> Body:
        """The claim about other heads: its arguments name them instead; heads written in its body stay.

        Args:
            partner: for each head that is replaced, the head that replaces it.
        """
        texts = {str(head): str(other) for head, other in partner.items()}

        def changed(value: Any) -> Any:
            if isinstance(value, Head):
                return partner.get(value, value)
            if isinstance(value, Circuit):
                return value.renamed(partner)
            if isinstance(value, tuple | list):
                return type(value)(changed(item) for item in value)
            return texts.get(value, value) if isinstance(value, str) else value

        return replace(self, arguments={name: changed(value) for name, value in self.arguments.items()})

    def run(self, *, until_refuted: bool = True, controls: bool = False) -> Trial:
        """Calls the claim; raises nothing but an interrupt.

        Args:
            until_refuted: whether the first refuted verdict ends the call.
            controls: whether controls are measured and assertions fail, as in the first run; then the first verdict
                that is not supported ends the call.

        Returns:
            What was seen, and the records of the verdicts up to that point.
        """
        reason = ""
        seen: Seen = "survived"
        sink = recording.collecting() if controls else recording.trial(until_refuted=until_refuted)
        with without_database_and_shrinking(self.function), sink as records:
            try:
                self.function(**self.arguments)
            except (NotApplicable, pytest.skip.Exception, SkipTest) as error:
                seen, reason = "not applicable", str(error)
            except ClaimFailed as error:
                seen, reason = "inconclusive", str(error)
            except (Exception, pytest.fail.Exception) as error:
                seen, reason = "error", f"{type(error).__name__}: {error}"
        outcomes = {record.outcome for record in records}
        if "refuted" in outcomes:
            return Trial("killed", records)
        if seen == "survived" and not records:
            return Trial("error", records, "the claim asserted nothing")
        return Trial("inconclusive" if seen == "survived" and outcomes != {"supported"} else seen, records, reason)


def _builds(value: Any) -> bool:
    """Whether a value is a function that builds experiments, as ``make_ioi_pairs``: its annotation says so."""
    return callable(value) and getattr(value, "__annotations__", {}).get("return") in ("Experiment", Experiment)
