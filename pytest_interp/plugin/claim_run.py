"""One claim while it runs: what it has said so far, what it may not touch, and what its snapshot says."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.common.compat import argument_names
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.plugin.model_guard import assign, checkpoints_of, restore, undone_later

if TYPE_CHECKING:
    from pytest_interp.ledger.record import Record
    from pytest_interp.rerun.trial import Body
    from pytest_interp.snapshots.compare import Comparison

OUTCOME = pytest.StashKey[ClaimOutcome]()
"""What came of a claim so far; of claims only."""
COMPARED = pytest.StashKey[bool]()
"""Whether a claim came to its end, so that its snapshot is known to be used."""


def amend(item: pytest.Item, **changes: Any) -> ClaimOutcome:
    """Replaces fields of what came of a claim so far."""
    item.stash[OUTCOME] = replace(item.stash[OUTCOME], **changes)
    return item.stash[OUTCOME]


class ClaimRun:
    """A claim's body, from its call to its end.

    Attributes:
        item: the claim.
        checkpoint: that it is about; None where its fixtures have none.
        records: of its verdicts, in order.
        expected: whether nothing is compared or run again, since it has no checkpoint or is expected to fail.
    """

    def __init__(self, item: pytest.Function) -> None:
        self.item = item
        self.checkpoint: Any = item.funcargs.get("checkpoint")
        self.records: Sequence[Record] = ()
        # A claim that is expected to fail has no snapshot: that it passes is the news.
        self.expected = self.checkpoint is None or item.get_closest_marker("xfail") is not None
        assign(item, self.checkpoint)
        self._guarded = [] if undone_later(item) else checkpoints_of(item)
        self._comparison = _comparison(item)

    @property
    def outcome(self) -> ClaimOutcome:
        """What came of it so far."""
        return self.item.stash[OUTCOME]

    @contextmanager
    def recording(self) -> Generator[None]:
        """Collects the records of the verdicts that are reached inside the block, however it ends."""
        from pytest_interp.verdict.recording import collecting

        try:
            with collecting() as self.records:
                yield
        finally:
            described, section = _described(self.item, self._decisive(self.records))
            amend(self.item, records=described)
            self.item.add_report_section("call", "claim", section)

    def _decisive(self, records: Sequence[Record]) -> Sequence[Record]:
        """All records; of a claim under ``@given`` the worst of each quantity."""
        from pytest_interp.verdict.recording import worst_of

        return worst_of(records) if getattr(self.item.obj, "is_hypothesis_test", False) else records

    def left_behind(self) -> str:
        """Puts the models back as they were, and says what the claim changed; empty where it changed nothing."""
        return restore(*self._guarded)

    def keep_snapshot(self) -> None:
        """Leaves the snapshot as it is, of a claim that has nothing to compare with it."""
        if self._comparison is not None:
            self._comparison.keep()
        self.item.stash[COMPARED] = True

    def raised(self, error: BaseException) -> None:
        """What follows from an error of the body: notes, and another error where it is no excuse.

        Raises:
            pytest.skip.Exception: the claim is not applicable.
            BaseException: the claim was to be passed over after a verdict that it does not hold.
        """
        __tracebackhide__ = True
        from pytest_interp.errors import ClaimFailed, NotApplicable
        from pytest_interp.ledger.outcome import NOT_APPLICABLE

        self.keep_snapshot()
        exact = self._in_float32() if isinstance(error, ClaimFailed) else ""
        for note in filter(None, (exact, self.left_behind())):
            error.add_note(note)
        if (ending := _ending(error)) and (failing := self._failing()):
            raise self.failure(f"the claim {ending} ({error}), but {failing}") from None
        if isinstance(error, NotApplicable):
            pytest.skip(f"{NOT_APPLICABLE}{error}")

    def unfounded(self) -> str:
        """Why a claim that passed is no support after all: it asserted nothing, or a failing verdict was swallowed."""
        if not self.outcome.records:
            return "the claim asserted nothing; call one of the assert_ functions of pytest_interp"
        if not (failing := self._failing()):
            return ""
        exact = self._in_float32()
        return f"the claim passed, but {failing}{f'; {exact}' if exact else ''}"

    def moved(self) -> str:
        """Compares with the snapshot, or updates it; says what moved, empty where nothing did."""
        from pytest_interp.errors import ClaimFailed

        complaint = ""
        if self._comparison is not None:
            circuit, fingerprint = self.checkpoint.circuit, self.checkpoint.fingerprint
            known = circuit is not None and circuit.fingerprint == fingerprint
            try:
                status = self._comparison.compare(self.outcome.records, fingerprint, known=known)
                amend(self.item, snapshot=status, prompts=self._comparison.changed_data)
            except ClaimFailed as error:
                complaint = str(error)
                amend(self.item, snapshot="missing" if self._comparison.stored is None else "differs")
        self.item.stash[COMPARED] = True
        return complaint

    def toothless(self) -> str:
        """Runs a supported claim again where that was asked for: on mutants, for its noise. Says why it fails there."""
        from pytest_interp.plugin.session import session_of

        options = session_of(self.item.config).options
        if not (options.falsify or options.noise):
            return ""
        from pytest_interp.ledger.outcome import Falsified
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
        """What fails the claim: a refuted one that is expected to fail fails as its xfail expects."""
        from pytest_interp.errors import ClaimFailed

        if self._failing() and self.item.get_closest_marker("xfail") is not None:
            return ClaimFailed(complaint)
        return pytest.fail.Exception(complaint, pytrace=False)

    def _failing(self) -> str:
        """The first verdict that is no support, wherever it was reached; empty where there is none."""
        failing = next((record for record in self.records if record.outcome != "supported"), None)
        return "" if failing is None else f"its verdict on {failing.subject} is {failing.outcome}"

    def _in_float32(self) -> str:
        """Measures a claim that failed in half precision again in float32; what came of it, empty where it was not."""
        from pytest_interp.rerun.precision import HALF, in_single_precision

        if self.expected or self.checkpoint.dtype not in HALF or not self._failing():
            return ""
        float32_run = in_single_precision(self._body(), self._decisive(self.records), self.checkpoint)
        amend(self.item, float32=float32_run)
        return float32_run.summary

    def _body(self) -> Body:
        from pytest_interp.rerun.trial import Body

        return Body(self.item.obj, {name: self.item.funcargs[name] for name in argument_names(self.item)})


def _comparison(item: pytest.Function) -> Comparison | None:
    """The claim's snapshot; None with ``-p no:syrupy``."""
    if not hasattr(item.config.option, "update_snapshots"):
        return None
    from pytest_interp.errors import UsageError
    from pytest_interp.snapshots.compare import Comparison

    try:
        return Comparison(item)
    except UsageError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _ending(error: BaseException) -> str:
    """How a body ended that says the claim need not hold; empty for any other error."""
    from unittest import SkipTest

    from pytest_interp.errors import NotApplicable

    if isinstance(error, NotApplicable):
        return "was not applicable"
    if isinstance(error, pytest.skip.Exception | SkipTest):
        return "was skipped"
    return "called pytest.xfail" if isinstance(error, pytest.xfail.Exception) else ""


def _described(item: pytest.Item, records: Sequence[Record]) -> tuple[tuple[Record, ...], str]:
    """The records with what was claimed, by whom and with which seed; and the section of the report that says it."""
    from pytest_interp.ledger.record import RecordedClaim
    from pytest_interp.plugin.selection import cite_of, claim_of, statement_of
    from pytest_interp.plugin.session import session_of
    from pytest_interp.report.terminal import describe

    claim = claim_of(item)
    assert claim is not None  # it has the marker
    statement = statement_of(item)
    recorded = RecordedClaim(
        item.nodeid, cite_of(item), statement, claim.source, claim.role, claim.evidence, tuple(claim.finding)
    )
    seed = session_of(item.config).options.seed
    described = tuple(replace(record, claim=recorded, seed=seed) for record in records)
    return described, describe(statement, claim.source, described)
