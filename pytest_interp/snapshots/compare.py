"""Compares the records of a claim with its snapshot, after the claim's body has passed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.location import PyTestLocation

from pytest_interp.common.compat import syrupy_session
from pytest_interp.errors import ClaimFailed
from pytest_interp.ledger.outcome import LeftSnapshot, OtherPrompts, SnapshotStatus
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
    """The snapshot of one claim, and the comparison with it.

    Attributes:
        update: whether ``--snapshot-update`` accepts the numbers as measured now.
        name: the claim's entry in the snapshot file.
        entries: all entries of the file, by name.
        stored: the claim's entry; None where the file has none.
        changed_data: the data sets that are not those of the entry; empty before `compare`.
        left: the numbers that left the entry; None before `compare`, and where none did.
        drawn: whether Hypothesis drew the prompts, so that only decisions are stored.
    """

    def __init__(self, item: pytest.Function) -> None:
        """Reads the snapshot file of a claim.

        Raises:
            UsageError: it is not a valid snapshot file.
        """
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
        self.changed_data: tuple[OtherPrompts, ...] = ()
        self.left: LeftSnapshot | None = None
        self.drawn = bool(getattr(item.obj, "is_hypothesis_test", False))

    def keep(self) -> None:
        """Marks the stored entry as used, so that syrupy neither reports nor deletes it."""
        if self.stored is not None:
            # syrupy marks an entry as used when it is compared; that it equals itself is not of interest.
            _ = self.assertion == self.stored

    def _of_same_weights(self, checkpoint: str, fingerprint: str) -> dict[str, Any] | None:
        """Returns the entry that the claim has for the same weights under another name; None without such an entry."""
        start, _, end = self.name.partition(checkpoint)
        same = [
            entry
            for name, entry in self.entries.items()
            if entry["fingerprint"] == fingerprint and name.startswith(start) and name.endswith(end)
        ]
        return same[0] if len(same) == 1 else None

    def compare(self, records: Sequence[Record], checkpoint: str, fingerprint: str, *, known: bool) -> SnapshotStatus:
        """Compares records with the stored entry, or stores them with ``--snapshot-update``.

        A checkpoint without an entry is compared with that of the same weights under another name, such as a copy in a
        folder or the user's own implementation.

        Args:
            records: of the claim's verdicts, in order.
            checkpoint: its name.
            fingerprint: of the checkpoint's weights.
            known: whether the circuit file has this fingerprint.

        Returns:
            ``matched``; ``updated`` where ``--snapshot-update`` replaced an entry; ``new number`` where it stored the
            first one, and on weights that are not those of the entry; ``other prompts`` where the data sets differ, so
            that the numbers cannot be compared.

        Raises:
            ClaimFailed: a number moved, a decision changed, or a known checkpoint has no snapshot here.
        """
        __tracebackhide__ = True
        entry = entry_of(records, fingerprint, drawn=self.drawn)
        if self.update:
            if not self.assertion == entry:
                raise ClaimFailed(f"the snapshot of {self.name} could not be written")
            return "new number" if self.stored is None else "matched" if entry == self.stored else "updated"
        known = known or any(other["fingerprint"] == fingerprint for other in self.entries.values())
        if not known or (self.stored is not None and self.stored["fingerprint"] != fingerprint):
            self.keep()
            return "new number"
        stored = self.stored or self._of_same_weights(checkpoint, fingerprint)
        if stored is None:
            raise ClaimFailed(
                f"{self.name} holds, but has no snapshot, though its weights are known\n"
                f"  (fingerprint {fingerprint}); `--snapshot-update` accepts what was measured now"
            )
        self.changed_data = other_prompts(records, entry, stored)
        if self.changed_data:
            self.keep()
            return "other prompts"
        if self.stored is not None:
            _ = self.assertion == entry  # syrupy counts it
        if moved := differences(entry, stored):
            first, *others = moved
            self.left = LeftSnapshot(tuple(moved), stored.get("taken_with") or "versions that it does not say")
            raise ClaimFailed(
                "\n".join(
                    (
                        first,
                        *(f"  {line}" for line in others),
                        f"  {self.name} holds, but its numbers left their snapshot;",
                        "  `--snapshot-update` accepts them as measured now",
                    )
                )
            )
        return "matched"
