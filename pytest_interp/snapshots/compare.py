"""The plugin's own comparison of a claim's records with its snapshot, after the claim's body has passed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.location import PyTestLocation

from pytest_interp.common.compat import syrupy_session
from pytest_interp.errors import ClaimFailed
from pytest_interp.ledger.outcome import OtherPrompts, SnapshotStatus
from pytest_interp.ledger.record import Record
from pytest_interp.snapshots.extension import (
    AcceptingExtension,
    MeasurementSnapshotExtension,
    differences,
    entry_of,
    other_prompts,
)
from pytest_interp.snapshots.snapshot_file import read_file


class Comparison:
    """The snapshot of one claim.

    Attributes:
        others: data sets that are others than in it, once it was compared.
    """

    def __init__(self, item: pytest.Function) -> None:
        self.update = bool(item.config.option.update_snapshots)
        self.location = PyTestLocation(item)
        self.assertion = SnapshotAssertion(
            session=syrupy_session(item.config),
            extension_class=AcceptingExtension if self.update else MeasurementSnapshotExtension,
            test_location=self.location,
            update_snapshots=self.update,
        )
        path = MeasurementSnapshotExtension.get_location(test_location=self.location, index=0)
        self.name = MeasurementSnapshotExtension.get_snapshot_name(test_location=self.location, index=0)
        self.entries = read_file(Path(path))
        self.stored: dict[str, Any] | None = self.entries.get(self.name)
        self.others: tuple[OtherPrompts, ...] = ()
        self.drawn = bool(getattr(item.obj, "is_hypothesis_test", False))

    def keep(self) -> None:
        """Marks the stored entry as used, so that syrupy neither reports nor deletes it."""
        if self.stored is not None:
            _ = self.assertion == self.stored

    def compare(self, records: Sequence[Record], fingerprint: str, *, known: bool) -> SnapshotStatus:
        """Compares, or accepts with --snapshot-update.

        Args:
            records: what the claim's assertions recorded.
            fingerprint: of the checkpoint's weights.
            known: the circuit file has this fingerprint.

        Raises:
            ClaimFailed: a number moved, a decision changed, or a known checkpoint has no snapshot here.
        """
        __tracebackhide__ = True
        entry = entry_of(records, fingerprint, drawn=self.drawn)
        if self.update:
            if not self.assertion == entry:
                raise ClaimFailed(f"the snapshot of {self.name} could not be written")
            return "updated"
        known = known or any(old["fingerprint"] == fingerprint for old in self.entries.values())
        if not known or (self.stored is not None and self.stored["fingerprint"] != fingerprint):
            self.keep()
            return "new number"
        if self.stored is None:
            raise ClaimFailed(
                f"{self.name} holds, but has no snapshot, though its weights are known\n"
                f"  (fingerprint {fingerprint}); `--snapshot-update` accepts what was measured now"
            )
        self.others = other_prompts(records, entry, self.stored)
        if self.others:
            self.keep()
            return "other prompts"
        if self.assertion != entry:
            lines = "\n".join(f"  {line}" for line in differences(entry, self.stored))
            raise ClaimFailed(
                f"{self.name} holds, but its numbers left their snapshot\n{lines}\n"
                "  `--snapshot-update` accepts them as measured now"
            )
        return "matched"
