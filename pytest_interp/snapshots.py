"""Snapshots of measurements: decisions match exactly, floats within the tolerance stored beside them.

One JSON file for each claims file, ``__snapshots__/test_x.json``; an entry for each test id, with the
fingerprint of the checkpoint it was measured on. Never raw tensors, never hashes of floats.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from syrupy.data import Snapshot, SnapshotCollection, SnapshotCollections
from syrupy.extensions.base import AbstractSyrupyExtension

from pytest_interp.errors import UsageError
from pytest_interp.measurement import FLOAT_NOISE, quote
from pytest_interp.plain import plain
from pytest_interp.snapshot_file import change_file, read_file
from pytest_interp.verdict.recording import Record

DECISIONS = ("found", "confirmed")
DRAW = ("data_hash", "data_seed", "bos", "n")
MOST_FLIPPED = 0.5
"""How much of a share may be stored as a matter of float noise: which prompts are close calls differs by machine."""
WIDEST = max(FLOAT_NOISE.values()) / FLOAT_NOISE["float32"]
"""How many times the tolerance of now a stored one may be: it may have been measured in the coarsest precision."""
EXACT = ("quantity", "outcome", "n", "bound", "heads", "decisions", "data_hash")


def entry_of(records: list[Record], fingerprint: str, *, drawn: bool) -> dict[str, Any]:
    """What is kept of a claim's records.

    Args:
        records: of one claim.
        fingerprint: of the checkpoint.
        drawn: the prompts were drawn by Hypothesis, so that only decisions are kept.
    """
    kept = []
    for record in records:
        row = {"quantity": record["quantity"], "outcome": record["outcome"], "bound": record["bound"]}
        row["heads"] = record["about"].get("heads", [])
        decided = {key: record["details"][key] for key in DECISIONS if key in record["details"]}
        if decided:
            row["decisions"] = decided
        if not drawn:
            row |= {"n": record["n"], "value": record["value"], "tolerance": record["tolerance"]}
            row |= {key: record["about"].get(key) for key in DRAW if key != "n"}
        kept.append(row)
    return {"fingerprint": fingerprint, "records": plain(kept)}


def same_data(entry: dict[str, Any], stored: dict[str, Any]) -> bool:
    """Whether both were drawn with the same choices, so that their numbers should agree.

    The same seed, number and BOS with another hash is a change of templates or names, and another number of
    verdicts is a change of the claim: those are differences, to be shown as such.
    """
    if len(entry["records"]) != len(stored["records"]):
        return True
    pairs = list(zip(entry["records"], stored["records"], strict=True))
    if any(one.keys() - other.keys() for one, other in pairs):
        return True
    prompts, choices = (
        all(one.get(key) == other.get(key) for one, other in pairs for key in keys) for keys in (DRAW[:1], DRAW[1:])
    )
    return prompts or choices


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


def differences(now: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """What moved beyond its tolerance, a line each, the furthest first."""
    if len(now["records"]) != len(stored["records"]):
        return [f"{len(now['records'])} verdicts now, {len(stored['records'])} in the snapshot"]
    moved: list[tuple[float, str]] = []
    for row, old in zip(now["records"], stored["records"], strict=True):
        what = " ".join([row["quantity"], *row.get("heads", [])])
        missing = sorted(row.keys() - old.keys())
        moved += [(float("inf"), f"{what}: the snapshot has no {key}") for key in missing]
        moved += [
            (float("inf"), f"{what}: {key} was {old.get(key)!r}, is {row.get(key)!r}")
            for key in EXACT
            if key not in missing and row.get(key) != old.get(key)
        ]
        if "value" in row and "value" in old:
            moved += _moved(row, old, what)
    return [line for _, line in sorted(moved, key=lambda pair: -pair[0])]


def _moved(row: dict[str, Any], old: dict[str, Any], what: str) -> list[tuple[float, str]]:
    """How far a value moved in tolerances, with the line that says so; none where it stayed within them."""
    most = _widest(row)
    if old["tolerance"] > most:
        line = f"{what}: a tolerance of {old['tolerance']:.2g} is stored, and none above {most:.2g} is ever written"
        return [(float("inf"), line)]
    delta, allowed = row["value"] - old["value"], max(row["tolerance"], old["tolerance"])
    if abs(delta) <= allowed:
        return []
    step = f"{quote(old['value'])} -> {quote(row['value'])}"
    line = f"{what}: {step} (moved {delta:+.2g}, up to {allowed:.2g} allowed)"
    return [(abs(delta) / allowed if allowed else float("inf"), line)]


def _widest(row: dict[str, Any]) -> float:
    """The widest tolerance that may stand in a snapshot of such a number."""
    tolerance, n = row["tolerance"], row.get("n", 0)
    # Of a share it is a number of prompts, and a trifle against rounding.
    counted = abs(tolerance * n - round(tolerance * n)) <= 2e-9 * n if n else False
    return float(max(WIDEST * tolerance, MOST_FLIPPED if counted else 0.0))
