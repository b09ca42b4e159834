"""Ledger: the outcomes of all claims of a run, and what the run was, as one JSON file.

A sample (the labels, templates and names of prompts) is shared by many records, and so is a sweep over all heads. The
file has each once, by its hash. The schema of the file is ``schema.json`` beside this module.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_interp.common.builtin_types import plain, refuse_constant, strict_json
from pytest_interp.errors import UsageError
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.ledger.profile import Profile
from pytest_interp.text import shown

FORMAT = 3
"""Version of the layout of the file, and of its schema."""
SCHEMA = Path(__file__).with_name("schema.json")
"""The JSON Schema of the file."""
_SHARED = {"sample": "samples", "sweep": "sweeps"}
"""Keys of a record whose values many records share, and the key of the file that has each value once."""
AGAIN = "run pytest with --interp-ledger again"


@dataclass(frozen=True)
class NotRun:
    """Claims that a run left out.

    Attributes:
        checkpoint: the name of the checkpoint that they are about.
        reason: such as ``not one of the quick claims (--interp-quick)``; of weights that are not here, how to get them.
        count: how many there are.
    """

    checkpoint: str
    reason: str
    count: int


@dataclass(frozen=True)
class Run:
    """What a run was.

    Attributes:
        started: the time it began, in UTC, such as ``2026-11-28T12:00:00Z``.
        seconds: how long it took.
        ended: number of claims that came to their end.
        collected: number of claims that were to run.
        versions: of the libraries that a number may depend on, of pytest and of Python.
        flags: the options of the run that are not the default, as they stand on a command line.
        seed: of prompts and control heads.
        has_prompts: whether the file holds the text of prompts; False with ``--interp-no-prompts``.
        not_run: the claims that it left out because of its options, or since their weights are not here. Claims that
            paths, ``-k`` and the like leave out are not known.
    """

    started: str
    seconds: float
    ended: int
    collected: int
    versions: Mapping[str, str]
    flags: tuple[str, ...] = ()
    seed: int = 0
    has_prompts: bool = True
    not_run: tuple[NotRun, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every claim that was to run came to its end."""
        return self.ended >= self.collected

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a table of JSON, with ``complete``; ``not_run`` has no key where it is empty."""
        table = {"complete": self.is_complete, **asdict(self), "flags": list(self.flags)}
        table["not_run"] = [asdict(claims) for claims in self.not_run]
        return {key: value for key, value in table.items() if key != "not_run" or value}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Run:
        """Returns the run that a table of JSON describes."""
        fields = {key: value for key, value in table.items() if key != "complete"}
        not_run = tuple(NotRun(**claims) for claims in table.get("not_run", ()))
        return cls(**{**fields, "flags": tuple(table["flags"]), "not_run": not_run})


@dataclass(frozen=True)
class Pattern:
    """The attention pattern of a head on one prompt.

    Attributes:
        head: its label, such as ``9.9``.
        data: the name of the data set.
        tokens: of the prompt, as text.
        rows: for each query position the attention to each key position up to it, in [0, 1].
    """

    head: str
    data: str
    tokens: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class RecordedCheckpoint:
    """A checkpoint of a run.

    Attributes:
        name: of the checkpoint.
        circuit: the text of its circuit file; empty without one.
        patterns: the attention patterns of claimed heads.
        weights: a sample of its weights, as ``checkpoint.weights.sample()`` gives it.
        profile: of its heads; None where it was not asked for.
    """

    name: str
    circuit: str = ""
    patterns: tuple[Pattern, ...] = ()
    weights: tuple[float, ...] = ()
    profile: Profile | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a table of JSON; without a profile it has no such key."""
        table: dict[str, Any] = plain(self)
        return {key: value for key, value in table.items() if value is not None}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RecordedCheckpoint:
        """Returns the checkpoint that a table of JSON describes."""
        patterns = tuple(
            Pattern(pattern["head"], pattern["data"], tuple(pattern["tokens"]), tuple(map(tuple, pattern["rows"])))
            for pattern in table["patterns"]
        )
        profile = Profile.from_json(table["profile"]) if "profile" in table else None
        return cls(table["name"], table["circuit"], patterns, tuple(table.get("weights", ())), profile)

    def joined(self, other: RecordedCheckpoint) -> RecordedCheckpoint:
        """Returns the checkpoint with the patterns of both, each once, in order of head and data set."""
        by_key = {
            (pattern.head, pattern.data, pattern.tokens): pattern for pattern in (*other.patterns, *self.patterns)
        }
        patterns = tuple(by_key[key] for key in sorted(by_key))
        circuit, weights = self.circuit or other.circuit, self.weights or other.weights
        return RecordedCheckpoint(self.name, circuit, patterns, weights, self.profile or other.profile)


@dataclass(frozen=True)
class Ledger:
    """The outcomes of all claims of a run.

    Attributes:
        run: what the run was.
        claims: their outcomes, in the order of the files.
        checkpoints: their circuits and attention patterns.
    """

    run: Run
    claims: tuple[ClaimOutcome, ...]
    checkpoints: tuple[RecordedCheckpoint, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the checkpoints that its claims are about, in order."""
        return tuple(dict.fromkeys(claim.checkpoint for claim in self.claims if claim.checkpoint is not None))

    def of(self, name: str) -> Ledger:
        """Returns the part that is about one checkpoint.

        Args:
            name: of the checkpoint.
        """
        claims = tuple(claim for claim in self.claims if claim.checkpoint == name)
        return replace(self, claims=claims, checkpoints=tuple(c for c in self.checkpoints if c.name == name))

    def to_text(self) -> str:
        """Returns the text of the file: strict JSON, without NaN or infinity, with a newline at its end."""
        claims: list[dict[str, Any]] = []
        shared: dict[str, dict[str, Any]] = {key: {} for key in _SHARED.values()}
        for outcome in self.claims:
            table = outcome.to_json()
            for record in _records(table):
                for name, place in _SHARED.items():
                    if record.get(name) is not None:
                        value = plain(record[name])
                        key = _digest(value)[:16]
                        shared[place][key], record[name] = value, key
            table["claim"]["command"] = shlex.join(["pytest", outcome.claim.id, *self.run.flags])
            claims.append(table)
        content = plain(
            {
                "format": FORMAT,
                "run": self.run.to_json(),
                "checkpoints": [checkpoint.to_json() for checkpoint in self.checkpoints],
                **{place: values for place, values in shared.items() if values or place == "samples"},
                "claims": claims,
            }
        )
        # Parsed again, so that the hash is that of what a reader will see, infinities as texts included.
        return strict_json({**content, "hash": _digest(json.loads(strict_json(content)))}) + "\n"


def read(path: Path) -> Ledger:
    """Returns the ledger in a file.

    Args:
        path: of the file.

    Returns:
        The ledger.

    Raises:
        UsageError: the file cannot be read, is no ledger or one of another format, or was changed by hand.
    """
    content = _content(path)
    expected = content.pop("hash", None)
    if expected != _digest(content):
        raise UsageError(f"{path} was changed after it was written: its hash is another; {AGAIN}")
    try:
        for table in content["claims"]:
            table["claim"].pop("command")
            for record in _records(table):
                for name, place in _SHARED.items():
                    if record.get(name) is not None:
                        record[name] = content[place][record[name]]
        return Ledger(
            Run.from_json(content["run"]),
            tuple(map(ClaimOutcome.from_json, content["claims"])),
            tuple(map(RecordedCheckpoint.from_json, content["checkpoints"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is no valid ledger ({type(error).__name__}: {error}); {AGAIN}") from None


def _content(path: Path) -> dict[str, Any]:
    """Returns the tables of a file whose layout is the present one."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; pass the file that --interp-ledger wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; pass the file that --interp-ledger wrote") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({str(error)[:100]}): it may be cut off; {AGAIN}") from None
    if not isinstance(content, dict) or not isinstance(content.get("claims"), list):
        raise UsageError(f"{path} is no ledger; pass the file that --interp-ledger wrote")
    if content.get("format") != FORMAT:
        raise UsageError(
            f"{path} has format {shown(content.get('format'))}, and this pytest-interp reads format {FORMAT}; {AGAIN}"
        )
    return content


def _records(claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns all records in the table of a claim."""
    return [*claim["records"], *claim.get("float32", {}).get("records", [])]


def _digest(value: Any) -> str:
    """Returns the hash of a JSON value, whatever the order of its keys and its white space."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
