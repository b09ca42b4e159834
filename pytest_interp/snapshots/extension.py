"""Snapshots of measurements: decisions match exactly, floats within the tolerance stored beside them.

There is one JSON file for each claims file, ``__snapshots__/test_x.json``. It has an entry for each test id, with the
fingerprint of the checkpoint it was measured on, and with the versions, device and dtype. It never holds raw tensors
or hashes of floats, which differ from machine to machine.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syrupy.data import Snapshot, SnapshotCollection, SnapshotCollections
from syrupy.extensions.base import AbstractSyrupyExtension

from pytest_interp.cache import provenance
from pytest_interp.common.builtin_types import plain
from pytest_interp.errors import UsageError
from pytest_interp.ledger.outcome import OtherPrompts
from pytest_interp.ledger.record import DECISIONS, Record
from pytest_interp.measurement import quote_both
from pytest_interp.snapshots.snapshot_file import change_file, read_file
from pytest_interp.text import counted
from pytest_interp.tolerance import FLOAT_NOISE

CHOICES = ("data_seed", "bos", "n", "words")
"""Fields that the user chooses: where they differ, other prompts are no surprise."""
OWN = {"words": "of its own tokenizer"}
"""What a record has that does not say from which words its prompts are drawn."""
MOST_FLIPPED = 0.5
"""The largest tolerance that may be stored for a share: 0.5 of the prompts. Which prompts are close calls differs by
machine.
"""
WIDEST = max(FLOAT_NOISE.values()) / FLOAT_NOISE["float32"]
"""The largest ratio of a stored tolerance to the present one: the snapshot may be of the coarsest precision."""
EXACT = ("quantity", "outcome", "n", "bound", "heads", "decisions", "data_hash")
"""Fields of a record that must match exactly."""


def entry_of(records: Sequence[Record], fingerprint: str, *, drawn: bool) -> dict[str, Any]:
    """Returns the snapshot entry of a claim.

    Args:
        records: of the claim's verdicts, in order.
        fingerprint: of the checkpoint's weights.
        drawn: whether Hypothesis drew the prompts; then only decisions are stored, since numbers differ by example.

    Returns:
        ``fingerprint``, ``taken_with`` and ``records``, as JSON values.
    """
    stored_records = []
    for record in records:
        fields: dict[str, Any] = {"quantity": record.quantity, "outcome": record.outcome, "bound": record.bound}
        fields["heads"] = [str(head) for head in record.context.heads or ()]
        decisions = {key: record.details[key] for key in DECISIONS if key in record.details}
        if decisions:
            fields["decisions"] = decisions
        if not drawn:
            fields |= {"n": record.n, "value": record.value, "tolerance": record.tolerance}
            data = record.context.data
            fields["data_hash"] = data.digest if data else None
            fields |= {"data_seed": data.seed if data else None, "bos": data.bos if data else None}
            if (checkpoint := record.context.checkpoint) is not None and checkpoint.words:
                fields["words"] = checkpoint.words
        stored_records.append(fields)
    return {"fingerprint": fingerprint, "taken_with": taken_with(records), "records": plain(stored_records)}


def taken_with(records: Sequence[Record]) -> str:
    """Returns the device, dtype and versions that records were measured with.

    Args:
        records: of one claim; the first one tells device and dtype.

    Returns:
        Such as ``device cpu, dtype float32, torch 2.13.0``.
    """
    checkpoint = records[0].context.checkpoint if records else None
    place = {"device": checkpoint.device, "dtype": checkpoint.dtype} if checkpoint else {}
    return ", ".join(f"{name} {value}" for name, value in {**place, **provenance.versions()}.items())


def other_prompts(records: Sequence[Record], entry: dict[str, Any], stored: dict[str, Any]) -> tuple[OtherPrompts, ...]:
    """Returns the data sets of a claim that are not those of its snapshot, so that its numbers cannot be compared.

    Args:
        records: of the claim's verdicts, in order.
        entry: their entry, from :func:`entry_of`.
        stored: the entry in the snapshot file.

    Returns:
        Each data set once. Empty where the number of verdicts differs or a stored record lacks a field: then
        :func:`differences` has more to say.
    """
    if len(entry["records"]) != len(stored["records"]):
        return ()
    pairs = list(zip(entry["records"], stored["records"], strict=True))
    pairs = [(OWN | measured, OWN | expected) for measured, expected in pairs]
    if any(measured.keys() - expected.keys() for measured, expected in pairs):
        return ()
    chosen = any(measured.get(key) != expected.get(key) for measured, expected in pairs for key in CHOICES)
    versions = _changed_versions(stored.get("taken_with"), entry["taken_with"])
    changed_data = []
    for record, (measured, expected) in zip(records, pairs, strict=True):
        hashes = expected.get("data_hash"), measured.get("data_hash")
        data = record.context.data
        other_names = record.context.observation == "name" and measured["words"] != expected["words"]
        if not other_names and (data is None or None in hashes or hashes[0] == hashes[1]):
            continue
        if chosen:
            choices = [key for key in CHOICES if measured[key] != expected[key]]
            differs = [f"{key} was {expected[key]}, is {measured[key]}" for key in choices]
        else:
            differs = [f"data_hash was {hashes[0]}, is {hashes[1]}", *versions]
        changed_data.append(OtherPrompts(data.name if data else "names", tuple(differs), chosen))
    return tuple(dict.fromkeys(changed_data))


def _changed_versions(stored: str | None, present: str) -> list[str]:
    """Returns a text for each version, device or dtype that differs from those that a snapshot was taken with."""
    if stored is None:
        return ["the snapshot does not say with which versions it was taken"]
    before, after = (dict(part.rpartition(" ")[::2] for part in text.split(", ")) for text in (stored, present))
    changed = [
        f"{name} was {before[name]}, is {after[name]}" for name in after if before.get(name, after[name]) != after[name]
    ]
    return changed or ["the versions are the same"]


class MeasurementSnapshotExtension(AbstractSyrupyExtension):
    """A syrupy extension for measurements; ``snapshot.use_extension(MeasurementSnapshotExtension)``.

    The methods and their arguments are those of syrupy's `AbstractSyrupyExtension`.
    """

    file_extension = "json"

    def serialize(self, data: Any, **_: Any) -> str:
        """Returns an entry as JSON text, with sorted keys."""
        return json.dumps(plain(data), indent=1, sort_keys=True)

    def matches(self, *, serialized_data: Any, snapshot_data: Any) -> bool:
        """Returns whether decisions are equal and floats are within the stored tolerance."""
        return not differences(json.loads(serialized_data), json.loads(snapshot_data))

    def diff_lines(self, serialized_data: Any, snapshot_data: Any) -> Any:
        """Yields a line for each value that differs, the furthest moved first."""
        if not snapshot_data:
            return iter(["no snapshot"])
        return iter(differences(json.loads(serialized_data), json.loads(snapshot_data)))

    def discover_snapshots(self, *, test_location: Any, ignore_extensions: Any = None) -> SnapshotCollections:  # noqa: ARG002
        """Returns the snapshot files beside a test, without invalid ones, which may belong to another tool."""
        discovered = SnapshotCollections()
        for path in sorted(Path(self.dirname(test_location=test_location)).glob(f"*.{self.file_extension}")):
            with contextlib.suppress(UsageError):
                discovered.add(self.read_snapshot_collection(snapshot_location=str(path)))
        return discovered

    def read_snapshot_collection(self, *, snapshot_location: str) -> SnapshotCollection:
        """Returns all entries of a file."""
        collection = SnapshotCollection(location=snapshot_location)
        for name, entry in read_file(Path(snapshot_location)).items():
            collection.add(Snapshot(name=name, data=self.serialize(entry)))
        return collection

    def read_snapshot_data_from_location(
        self,
        *,
        snapshot_location: str,
        snapshot_name: str,
        session_id: str,  # noqa: ARG002
    ) -> str | None:
        """Returns one entry as JSON text; None where the file does not have it."""
        entry = read_file(Path(snapshot_location)).get(snapshot_name)
        return None if entry is None else self.serialize(entry)

    @classmethod
    def write_snapshot_collection(cls, *, snapshot_collection: SnapshotCollection, name_order: Any = None) -> None:  # noqa: ARG003
        """Adds entries to a file, all of them or none."""
        new = {snapshot.name: json.loads(str(snapshot.data)) for snapshot in snapshot_collection}
        change_file(Path(snapshot_collection.location), lambda entries: {**entries, **new})

    def delete_snapshots(self, *, snapshot_location: str, snapshot_names: set[str]) -> None:
        """Removes entries from a file; deletes a file that has none left."""
        change_file(
            Path(snapshot_location),
            lambda entries: {name: entry for name, entry in entries.items() if name not in snapshot_names},
        )


class AcceptingExtension(MeasurementSnapshotExtension):
    """The extension for ``--snapshot-update``: it also rewrites an entry without the versions it was taken with."""

    def matches(self, *, serialized_data: Any, snapshot_data: Any) -> bool:
        """Returns whether the stored entry can stay: it has its versions, and the measured one matches."""
        has_versions = "taken_with" in json.loads(snapshot_data)
        return has_versions and super().matches(serialized_data=serialized_data, snapshot_data=snapshot_data)


def differences(entry: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """Returns the differences between a measured entry and the stored one.

    Args:
        entry: as measured, from :func:`entry_of`.
        stored: from the snapshot file.

    Returns:
        A line for each field that must be equal and is not, then for each value beyond its tolerance, the furthest
        first. Empty where the entries match.
    """
    if len(entry["records"]) != len(stored["records"]):
        return [f"{counted(len(entry['records']), 'verdict')} now, {len(stored['records'])} in the snapshot"]
    moved: list[tuple[float, str]] = []
    for measured, expected in zip(entry["records"], stored["records"], strict=True):
        subject = " ".join([measured["quantity"], *measured.get("heads", [])])
        missing = sorted(measured.keys() - expected.keys() - OWN.keys())
        moved += [(float("inf"), f"{subject}: the snapshot has no {key}") for key in missing]
        moved += [
            (float("inf"), f"{subject}: {key} was {expected.get(key)!r}, is {measured.get(key)!r}")
            for key in EXACT
            if key not in missing and measured.get(key) != expected.get(key)
        ]
        if "value" in measured and "value" in expected:
            moved += _moved(measured, expected, subject)
    return [line for _, line in sorted(moved, key=lambda pair: -pair[0])]


def _moved(measured: dict[str, Any], expected: dict[str, Any], subject: str) -> list[tuple[float, str]]:
    """Returns how far a value moved, in units of its tolerance, and a line about it; empty within the tolerance."""
    widest = _widest(measured)
    if expected["tolerance"] > widest:
        line = (
            f"{subject}: a tolerance of {expected['tolerance']:.2g} is stored, and none above {widest:.2g} is ever "
            "written"
        )
        return [(float("inf"), line)]
    delta, allowed = measured["value"] - expected["value"], max(measured["tolerance"], expected["tolerance"])
    if abs(delta) <= allowed:
        return []
    before, after = quote_both(expected["value"], measured["value"])
    line = f"{subject} {before} -> {after} (moved {delta:+.2g}, up to {allowed:.2g} allowed)"
    return [(abs(delta) / allowed if allowed else float("inf"), line)]


def _widest(measured: dict[str, Any]) -> float:
    """Returns the widest tolerance that a snapshot of this number may have, in the unit of its value."""
    tolerance, n = measured["tolerance"], measured.get("n", 0)
    # The tolerance of a share is a whole number of prompts divided by n, plus a trifle against rounding.
    is_share = abs(tolerance * n - round(tolerance * n)) <= 2e-9 * n if n else False
    return float(max(WIDEST * tolerance, MOST_FLIPPED if is_share else 0.0))
