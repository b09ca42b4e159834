"""Snapshot files: read with every field checked, changed by one process at a time, written whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_interp.common.arguments import is_list_of, is_number, is_text, is_whole
from pytest_interp.common.builtin_types import refuse_constant
from pytest_interp.common.files import locked, write_whole
from pytest_interp.errors import UsageError
from pytest_interp.text import shown

ADVICE = "restore it, or delete it and run --snapshot-update"
OUTCOMES = ("supported", "refuted", "inconclusive")

unwritten: dict[Path, str] = {}
"""The reason for each file that this process could not write; the run reports them at its end."""


def _are_decisions(value: object) -> bool:
    """Returns whether a value is a table of texts."""
    return isinstance(value, dict) and all(map(is_text, value.values()))


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "quantity": (is_text, "a text"),
    "outcome": (lambda value: value in OUTCOMES, f"one of {', '.join(OUTCOMES)}"),
    "bound": (is_text, "a text"),
    "heads": (is_list_of(is_text), "a list of texts"),
    "decisions": (_are_decisions, "a table of texts"),
    "n": (lambda value: is_whole(value) and value >= 1, "a whole number of at least 1"),
    "value": (is_number, "a finite number"),
    "tolerance": (lambda value: is_number(value) and value >= 0, "a finite number that is not negative"),
    "data_hash": (lambda value: value is None or is_text(value), "a text or null"),
    "data_seed": (lambda value: value is None or is_whole(value), "a whole number or null"),
    "bos": (lambda value: value is None or isinstance(value, bool), "true, false or null"),
    "words": (is_text, "a text"),
}
"""For each field of a record, a check and the words for what it accepts."""
_ALWAYS = ("quantity", "outcome")
"""Fields that no record lacks."""
_TOGETHER = ("value", "tolerance")
"""Fields of which a record has both or none."""


def check_entry(entry: object, place: str) -> None:
    """Refuses an entry with a field that is missing or of the wrong type.

    Args:
        entry: of one claim, as parsed from JSON.
        place: the file and the claim, for the message.

    Raises:
        UsageError: names the field.
    """
    if not isinstance(entry, dict):
        raise UsageError(f"{place} is {shown(entry)}; it must be a table of fingerprint and records; {ADVICE}")
    if not isinstance(entry.get("fingerprint"), str):
        raise UsageError(f"{place}: fingerprint is {shown(entry.get('fingerprint'))}; it must be a text; {ADVICE}")
    if not isinstance(entry.get("taken_with", ""), str):
        raise UsageError(f"{place}: taken_with is {shown(entry['taken_with'])}; it must be a text; {ADVICE}")
    if not isinstance(entry.get("records"), list):
        raise UsageError(f"{place}: records is {shown(entry.get('records'))}; it must be a list of tables; {ADVICE}")
    for number, record in enumerate(entry["records"]):
        _check_record(record, f"{place}: records[{number}]")


def _check_record(record: object, place: str) -> None:
    """Refuses a record with a field that is missing or of the wrong type."""
    if not isinstance(record, dict):
        raise UsageError(f"{place} is {shown(record)}; it must be a table; {ADVICE}")
    needed = [*_ALWAYS, *(_TOGETHER if any(name in record for name in _TOGETHER) else ())]
    for name in needed:
        if name not in record:
            raise UsageError(f"{place} has no {name}; {ADVICE}")
    for name in (name for name in _FIELDS if name in record):
        valid, wanted = _FIELDS[name]
        if not valid(record[name]):
            raise UsageError(f"{place}.{name} is {shown(record[name])}; it must be {wanted}; {ADVICE}")


def read_file(path: Path) -> dict[str, Any]:
    """Returns the entries of a snapshot file.

    Args:
        path: of the file.

    Returns:
        The checked entries by name; empty where there is no file.

    Raises:
        UsageError: it is no valid snapshot file; the message names the file, the entry and the field.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, where the snapshot file should be; move it away")
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_table, parse_constant=refuse_constant)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a valid snapshot file ({error}); {ADVICE}") from None
    if not isinstance(entries, dict):
        raise UsageError(f"{path} is not a snapshot file of pytest-interp; {ADVICE}")
    for name, entry in entries.items():
        check_entry(entry, f"{path}: {name}")
    return entries


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a table of JSON; refuses a key that stands twice, which `json` would pass over."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has {next(name for name in names if names.count(name) > 1)!r} twice")
    return table


def change_file(path: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Changes the entries of a snapshot file under a lock; deletes the file where no entry is left.

    A file that cannot be written stays as it was, and the run reports it at its end (:func:`say_unwritten`).

    Args:
        path: of the file.
        change: takes the present entries and returns the new ones.
    """
    try:
        with locked(path):
            entries = change(read_file(path))
            for name, entry in entries.items():
                check_entry(entry, f"{path}: {name}")
            if entries:
                write_file(path, entries)
            else:
                path.unlink(missing_ok=True)
    except (OSError, UsageError) as error:
        unwritten[path] = str(getattr(error, "strerror", None) or error)


def write_file(path: Path, entries: Mapping[str, Any]) -> None:
    """Writes a snapshot file as a whole: to a temporary file first, which is then renamed.

    Args:
        path: of the file; its folder is made if it is not there.
        entries: by name of the claim; written in the order of names.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(dict(sorted(entries.items())), indent=1, sort_keys=True, allow_nan=False) + "\n")


def say_unwritten() -> list[str]:
    """Returns a line for each snapshot file that could not be written, and forgets them.

    Returns:
        The lines in the order of paths; empty where all could be written.
    """
    lines = [f"snapshots not written: {path} is as it was ({reason})" for path, reason in sorted(unwritten.items())]
    unwritten.clear()
    return lines
