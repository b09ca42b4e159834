"""Runs one claim: its records, the models it must leave unchanged, its snapshot, and the runs again.

`runtest.pytest_pyfunc_call` calls the methods of `ClaimRun` in this order.

1. `recording` collects the records while the body runs.
2. If the body raised: `raised` turns a skip after a failing verdict into a failure, and "not applicable" into a skip.
   Any other error goes on, with notes.
3. If it returned: `left_behind` restores the models, `unfounded` looks for a claim that asserted nothing or caught its
   own failure, `moved` compares with the snapshot, and `toothless` runs the claim again on mutants and for noise, where
   an option asked for that. Each returns a complaint, or an empty text. The first complaint fails the claim. A claim
   that is `expected` to fail, or has no checkpoint, leaves out the last two.

The outcome so far is in the item's stash under `OUTCOME`. Each step replaces fields of it with `amend`, so that the
report carries what was known when the claim ended.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.common.compat import argument_names
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.plugin.model_guard import assign, checkpoints_of, restore, undone_later
from pytest_interp.plugin.session import session_of

if TYPE_CHECKING:
    from pytest_interp.ledger.record import Record
    from pytest_interp.rerun.trial import Body
    from pytest_interp.snapshots.compare import Comparison

OUTCOME = pytest.StashKey[ClaimOutcome]()
"""The outcome of a claim so far; tests that are no claims have none."""
COMPARED = pytest.StashKey[bool]()
"""True for a claim that came to its end, so that its snapshot was compared or marked as used."""


def amend(item: pytest.Item, **changes: Any) -> ClaimOutcome:
    """Replaces fields of the outcome of a claim so far.

    Args:
        item: the claim.
        **changes: new values by name of the field.

    Returns:
        The new outcome.
    """
    item.stash[OUTCOME] = replace(item.stash[OUTCOME], **changes)
    return item.stash[OUTCOME]


class ClaimRun:
    """One call of a claim's body, and the checks after it.

    Attributes:
        item: the claim.
        checkpoint: the checkpoint it is about; None where it has no fixture ``checkpoint``.
        records: of its verdicts, in order.
        expected: whether nothing is compared or run again, since it has no checkpoint or is expected to fail.
    """

    def __init__(self, item: pytest.Function) -> None:
        self.item = item
        self.checkpoint: Any = item.funcargs.get("checkpoint")
        self.records: Sequence[Record] = ()
        # A claim that is expected to fail has no snapshot: if it passes, that is the finding, not its numbers.
        self.expected = self.checkpoint is None or item.get_closest_marker("xfail") is not None
        assign(item, self.checkpoint)
        self._guarded = [] if undone_later(item) else checkpoints_of(item)
        self._comparison = _comparison(item)
        self._against = bool(session_of(item.config).options.against)

    @property
    def outcome(self) -> ClaimOutcome:
        """The outcome so far."""
        return self.item.stash[OUTCOME]

    @contextmanager
    def recording(self) -> Generator[None]:
        """Collects the records of the verdicts inside the block, however it ends, and adds them to the report."""
        from pytest_interp.report.terminal import describe
        from pytest_interp.verdict.recording import collecting

        try:
            with collecting() as self.records:
                yield
        finally:
            decisive = tuple(self._decisive(self.records))
            claim = amend(self.item, records=decisive).claim
            self.item.add_report_section("call", "claim", describe(claim.statement, str(claim.source), decisive))

    def _decisive(self, records: Sequence[Record]) -> Sequence[Record]:
        """Returns all records; of a claim under ``@given`` the worst of each quantity."""
        from pytest_interp.verdict.recording import worst_of

        return worst_of(records) if getattr(self.item.obj, "is_hypothesis_test", False) else records

    def left_behind(self) -> str:
        """Restores the models, and returns what the claim had changed; empty where it changed nothing."""
        return restore(*self._guarded)

    def keep_snapshot(self) -> None:
        """Marks the snapshot as used and leaves it as it is, for a claim that has nothing to compare with it."""
        if self._comparison is not None:
            self._comparison.keep()
        self.item.stash[COMPARED] = True

    def raised(self, error: BaseException) -> None:
        """Adds notes to an error of the body; raises another error in its place where it must not decide.

        Args:
            error: what the body raised; the caller raises it again if this returns.

        Raises:
            pytest.skip.Exception: the claim is not applicable.
            BaseException: the claim skipped itself after a verdict that is no support; so it fails.
        """
        __tracebackhide__ = True
        from pytest_interp.errors import ClaimFailed, NotApplicable
        from pytest_interp.ledger.outcome import NOT_APPLICABLE

        self.keep_snapshot()
        in_float32 = self._in_float32() if isinstance(error, ClaimFailed) else ""
        for note in filter(None, (in_float32, self.left_behind())):
            error.add_note(note)
        if (ending := _ending(error)) and (failing := self._failing()):
            raise self.failure(f"the claim {ending} ({error}), but {failing}") from None
        if isinstance(error, NotApplicable):
            pytest.skip(f"{NOT_APPLICABLE}{error}")

    def unfounded(self) -> str:
        """Returns why a claim that passed is no support: it asserted nothing, or caught its own failure; else empty."""
        if not self.outcome.records:
            return "the claim asserted nothing; call one of the assert_ functions of pytest_interp"
        if not (failing := self._failing()):
            return ""
        in_float32 = self._in_float32()
        return f"the claim passed, but {failing}{f'; {in_float32}' if in_float32 else ''}"

    def moved(self) -> str:
        """Compares with the snapshot, or updates it; returns what moved, empty where nothing did.

        With ``--interp-against`` the snapshot is left as it is: the run is compared with a ledger when it has ended.
        """
        from pytest_interp.errors import ClaimFailed

        complaint = ""
        if self._against:
            self.keep_snapshot()
        elif self._comparison is not None:
            circuit, name, fingerprint = self.checkpoint.circuit, self.checkpoint.name, self.checkpoint.fingerprint
            known = circuit is not None and circuit.fingerprint == fingerprint
            try:
                status = self._comparison.compare(self.outcome.records, name, fingerprint, known=known)
                amend(self.item, snapshot=status, prompts=self._comparison.changed_data)
            except ClaimFailed as error:
                complaint = str(error)
                status = "missing" if self._comparison.stored is None else "differs"
                amend(self.item, snapshot=status, left=self._comparison.left)
        self.item.stash[COMPARED] = True
        return complaint

    def toothless(self) -> str:
        """Runs a supported claim again, for its noise and on mutants, where an option asked for it.

        Returns:
            Why the claim fails: its runs left a model changed, or no mutant refuted it; else empty.
        """
        options = session_of(self.item.config).options
        if not (options.falsify or options.noise):
            return ""
        from pytest_interp.ledger.reruns import Falsified
        from pytest_interp.rerun import falsify, noise

        records, body, survived = self.outcome.records, self._body(), ""
        if options.noise:
            amend(self.item, noise=noise.movements(body, records, self.checkpoint))
        if options.falsify:
            mutants = falsify.falsify(
                body, records, self.checkpoint, everything=options.falsify == "all", seed=options.seed
            )
            survived = falsify.verdict_of(mutants, names_heads=bool(falsify.heads_of(records)))
            amend(self.item, falsified=Falsified(tuple(mutants), falsify.died(mutants), survived))
        return self.left_behind() or (f"{self.item.name}: {survived}" if survived else "")

    def failure(self, complaint: str) -> BaseException:
        """Returns the error that fails the claim.

        Args:
            complaint: the message.

        Returns:
            `ClaimFailed` for a refuted claim that is expected to fail, since its xfail mark accepts no other error;
            else the error of ``pytest.fail``.
        """
        from pytest_interp.errors import ClaimFailed

        if self._failing() and self.item.get_closest_marker("xfail") is not None:
            return ClaimFailed(complaint)
        return pytest.fail.Exception(complaint, pytrace=False)

    def _failing(self) -> str:
        """Returns a text about the first verdict that is no support; empty where all are."""
        failing = next((record for record in self.records if record.outcome != "supported"), None)
        return "" if failing is None else f"its verdict on {failing.subject} is {failing.outcome}"

    def _in_float32(self) -> str:
        """Measures a claim that failed in half precision again in float32; returns the result as text, else empty."""
        from pytest_interp.rerun.precision import HALF, in_single_precision

        if self.expected or self.checkpoint.dtype not in HALF or not self._failing():
            return ""
        float32_run = in_single_precision(self._body(), self._decisive(self.records), self.checkpoint)
        amend(self.item, float32=float32_run)
        return float32_run.summary

    def _body(self) -> Body:
        """Returns the claim's function with the values of its fixtures, to be run again."""
        from pytest_interp.rerun.trial import Body

        return Body(self.item.obj, {name: self.item.funcargs[name] for name in argument_names(self.item)})


def _comparison(item: pytest.Function) -> Comparison | None:
    """Returns the claim's snapshot; None with ``-p no:syrupy``."""
    if not hasattr(item.config.option, "update_snapshots"):
        return None
    from pytest_interp.errors import UsageError
    from pytest_interp.snapshots.compare import Comparison

    try:
        return Comparison(item)
    except UsageError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _ending(error: BaseException) -> str:
    """Returns how a body passed over itself: not applicable, skip or xfail; empty for any other error."""
    from unittest import SkipTest

    from pytest_interp.errors import NotApplicable

    if isinstance(error, NotApplicable):
        return "was not applicable"
    if isinstance(error, pytest.skip.Exception | SkipTest):
        return "was skipped"
    return "called pytest.xfail" if isinstance(error, pytest.xfail.Exception) else ""
