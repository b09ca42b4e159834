"""Snapshots of measurements: decisions match exactly, floats within the tolerance stored beside them.

One JSON file for each claims file, ``__snapshots__/test_x.json``; an entry for each test id, with the
fingerprint of the checkpoint it was measured on, and with which versions, device and dtype. Never raw tensors, never
hashes of floats.
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
from pytest_interp.ledger.record import Record
from pytest_interp.measurement import quote
from pytest_interp.snapshots.snapshot_file import change_file, read_file
from pytest_interp.tolerance import FLOAT_NOISE

DECISIONS = ("found", "confirmed")
CHOICES = ("data_seed", "bos", "n")
MOST_FLIPPED = 0.5
"""How much of a share may be stored as a matter of float noise: which prompts are close calls differs by machine."""
WIDEST = max(FLOAT_NOISE.values()) / FLOAT_NOISE["float32"]
"""How many times the tolerance of now a stored one may be: it may have been measured in the coarsest precision."""
EXACT = ("quantity", "outcome", "n", "bound", "heads", "decisions", "data_hash")


def entry_of(records: Sequence[Record], fingerprint: str, *, drawn: bool) -> dict[str, Any]:
    """What is kept of a claim's records.

    Args:
        records: of one claim.
        fingerprint: of the checkpoint.
        drawn: the prompts were drawn by Hypothesis, so that only decisions are kept.
    """
    rows = []
    for record in records:
        row: dict[str, Any] = {"quantity": record.quantity, "outcome": record.outcome, "bound": record.bound}
        row["heads"] = record.about.get("heads", [])
        decided = {key: record.details[key] for key in DECISIONS if key in record.details}
        if decided:
            row["decisions"] = decided
        if not drawn:
            row |= {"n": record.n, "value": record.value, "tolerance": record.tolerance}
            row |= {key: record.about.get(key) for key in ("data_hash", "data_seed", "bos")}
        rows.append(row)
    return {"fingerprint": fingerprint, "taken_with": taken_with(records), "records": plain(rows)}


def taken_with(records: Sequence[Record]) -> str:
    """Device, dtype and versions that numbers were measured with: ``device cpu, dtype float32, torch 2.13.0``."""
    about = records[0].about if records else {}
    place = {key: about[key] for key in ("device", "dtype") if key in about}
    return ", ".join(f"{name} {value}" for name, value in {**place, **provenance.versions()}.items())


def other_prompts(records: Sequence[Record], entry: dict[str, Any], stored: dict[str, Any]) -> tuple[OtherPrompts, ...]:
    """The data sets of a claim that are others than in its snapshot, so that its numbers cannot be compared.

    Args:
        records: of the claim.
        entry: what would be kept of them.
        stored: what was kept.

    Returns:
        None of them where there is a difference to be shown: another number of verdicts, a field that is missing.
    """
    if len(entry["records"]) != len(stored["records"]):
        return ()
    rows = list(zip(entry["records"], stored["records"], strict=True))
    if any(now.keys() - old.keys() for now, old in rows):
        return ()
    chosen = any(now.get(key) != old.get(key) for now, old in rows for key in CHOICES)
    versions = _changed(stored.get("taken_with"), entry["taken_with"])
    others = []
    for record, (now, old) in zip(records, rows, strict=True):
        hashes = old.get("data_hash"), now.get("data_hash")
        if None in hashes or hashes[0] == hashes[1]:
            continue
        if chosen:
            differs = [f"{key} was {old[key]}, is {now[key]}" for key in CHOICES if now[key] != old[key]]
        else:
            differs = [f"data_hash was {hashes[0]}, is {hashes[1]}", *versions]
        others.append(OtherPrompts(str(record.about.get("data")), tuple(differs), chosen))
    return tuple(dict.fromkeys(others))


def _changed(before: str | None, now: str) -> list[str]:
    """Which versions, device or dtype are others than those that a snapshot was taken with."""
    if before is None:
        return ["the snapshot does not say with which versions it was taken"]
    old, new = (dict(part.rpartition(" ")[::2] for part in text.split(", ")) for text in (before, now))
    changed = [f"{name} was {old[name]}, is {new[name]}" for name in new if old.get(name, new[name]) != new[name]]
    return changed or ["the versions are the same"]


class MeasurementSnapshotExtension(AbstractSyrupyExtension):
    """A syrupy extension for measurements; ``snapshot.use_extension(MeasurementSnapshotExtension)``."""

    file_extension = "json"

    def serialize(self, data: Any, **_: Any) -> str:
        """The entry as JSON text."""
        return json.dumps(plain(data), indent=1, sort_keys=True)

    def matches(self, *, serialized_data: Any, snapshot_data: Any) -> bool:
        """Decisions equal, floats within the stored tolerance."""
        return not differences(json.loads(serialized_data), json.loads(snapshot_data))

    def diff_lines(self, serialized_data: Any, snapshot_data: Any) -> Any:
        """One line for each row that differs, the furthest moved first."""
        if not snapshot_data:
            return iter(["no snapshot"])
        return iter(differences(json.loads(serialized_data), json.loads(snapshot_data)))

    def discover_snapshots(self, *, test_location: Any, ignore_extensions: Any = None) -> SnapshotCollections:  # noqa: ARG002
        """The files of this extension beside a test; one that is not valid is left alone, whoever it belongs to."""
        discovered = SnapshotCollections()
        for path in sorted(Path(self.dirname(test_location=test_location)).glob(f"*.{self.file_extension}")):
            with contextlib.suppress(UsageError):
                discovered.add(self.read_snapshot_collection(snapshot_location=str(path)))
        return discovered

    def read_snapshot_collection(self, *, snapshot_location: str) -> SnapshotCollection:
        """All entries of a file."""
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
        """One entry, or None."""
        entry = read_file(Path(snapshot_location)).get(snapshot_name)
        return None if entry is None else self.serialize(entry)

    @classmethod
    def write_snapshot_collection(cls, *, snapshot_collection: SnapshotCollection, name_order: Any = None) -> None:  # noqa: ARG003
        """Adds entries to a file, whole or not at all."""
        new = {snapshot.name: json.loads(str(snapshot.data)) for snapshot in snapshot_collection}
        change_file(Path(snapshot_collection.location), lambda entries: {**entries, **new})

    def delete_snapshots(self, *, snapshot_location: str, snapshot_names: set[str]) -> None:
        """Takes entries out; a file without any goes."""
        change_file(
            Path(snapshot_location),
            lambda entries: {name: entry for name, entry in entries.items() if name not in snapshot_names},
        )


class AcceptingExtension(MeasurementSnapshotExtension):
    """The same for ``--snapshot-update``: an entry that does not say with what it was taken is written anew."""

    def matches(self, *, serialized_data: Any, snapshot_data: Any) -> bool:
        """As far as nothing has to be written."""
        said = "taken_with" in json.loads(snapshot_data)
        return said and super().matches(serialized_data=serialized_data, snapshot_data=snapshot_data)


def differences(entry: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """What moved beyond its tolerance, a line each, the furthest first."""
    if len(entry["records"]) != len(stored["records"]):
        return [f"{len(entry['records'])} verdicts now, {len(stored['records'])} in the snapshot"]
    moved: list[tuple[float, str]] = []
    for measured, expected in zip(entry["records"], stored["records"], strict=True):
        what = " ".join([measured["quantity"], *measured.get("heads", [])])
        missing = sorted(measured.keys() - expected.keys())
        moved += [(float("inf"), f"{what}: the snapshot has no {key}") for key in missing]
        moved += [
            (float("inf"), f"{what}: {key} was {expected.get(key)!r}, is {measured.get(key)!r}")
            for key in EXACT
            if key not in missing and measured.get(key) != expected.get(key)
        ]
        if "value" in measured and "value" in expected:
            moved += _moved(measured, expected, what)
    return [line for _, line in sorted(moved, key=lambda pair: -pair[0])]


def _moved(measured: dict[str, Any], expected: dict[str, Any], what: str) -> list[tuple[float, str]]:
    """How far a value moved in tolerances, with the line that says so; none where it stayed within them."""
    most = _widest(measured)
    if expected["tolerance"] > most:
        line = (
            f"{what}: a tolerance of {expected['tolerance']:.2g} is stored, and none above {most:.2g} is ever written"
        )
        return [(float("inf"), line)]
    delta, allowed = measured["value"] - expected["value"], max(measured["tolerance"], expected["tolerance"])
    if abs(delta) <= allowed:
        return []
    step = f"{quote(expected['value'])} -> {quote(measured['value'])}"
    line = f"{what}: {step} (moved {delta:+.2g}, up to {allowed:.2g} allowed)"
    return [(abs(delta) / allowed if allowed else float("inf"), line)]


def _widest(measured: dict[str, Any]) -> float:
    """The widest tolerance that may stand in a snapshot of such a number."""
    tolerance, n = measured["tolerance"], measured.get("n", 0)
    # Of a share it is a number of prompts, and a trifle against rounding.
    counted = abs(tolerance * n - round(tolerance * n)) <= 2e-9 * n if n else False
    return float(max(WIDEST * tolerance, MOST_FLIPPED if counted else 0.0))
