"""Measurements on disk, off unless asked for: a number is read back only where the same code would compute it again.

The key holds weights, configuration and tokenizer, what the loaded model gives on fixed prompts, the prompts, the
measurement and its arguments, dtype and device, the libraries' versions and a hash of this package. Where one of these
cannot be vouched for, everything is measured.
"""

from __future__ import annotations

import base64
import inspect
import json
import struct
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pytest_interp.cache import provenance
from pytest_interp.common.arguments import subject_of
from pytest_interp.common.context import Ablated, CheckpointIdentity, Context, DataIdentity, Exchanged
from pytest_interp.common.files import digest, make_cache, write_whole
from pytest_interp.heads import Head, KVHead
from pytest_interp.measurement import Measurement, Sample
from pytest_interp.table import Table

P = ParamSpec("P")
R = TypeVar("R")

FORMAT = 6
_RESULTS: dict[str, type] = {
    kind.__name__: kind
    for kind in (Measurement, Table, Head, KVHead, Context, CheckpointIdentity, DataIdentity, Ablated, Exchanged)
}
_COLLECTIONS: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": frozenset}
_LONG = 8
"""Tuples longer than this (labels, templates, names of all prompts) are written once for all cells; numbers as bits."""


class _Uncacheable(TypeError):
    """Something of which no key, or no copy on disk, can be made."""


@dataclass
class Cache:
    """A folder of measurements.

    Attributes:
        folder: where they are.
        off: why nothing is read or written; empty if all is well.
        read: how many measurements were read back.
        measured: how many were measured and written.
    """

    folder: Path
    off: str = ""
    read: int = 0
    measured: int = 0

    @classmethod
    def at(cls, folder: Path) -> Cache:
        """The cache in a folder, which is made if need be; off, with the reason, where it must not be used."""
        made = cls(folder, provenance.changed())
        if not made.off:
            try:
                make_cache(folder)
            except OSError as error:
                made.off = f"{folder} cannot be written: {error.strerror}"
        return made

    @property
    def said(self) -> str:
        """What a run says of it."""
        if self.off:
            return f"cache not used: {self.off}"
        return f"cache {self.folder}: {self.read} measurements read from disk, {self.measured} measured and kept"

    def find(self, key: str) -> Any:
        """What was measured under a key; None if there is nothing, or nothing whole."""
        try:
            head, _, text = self._path(key).read_text(encoding="utf-8").partition("\n")
            if json.loads(head) != {"key": key, "check": digest(text)}:
                return None
            found = _Reader(json.loads(text)).result
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, struct.error):
            return None  # not there, cut off, or not ours: it is measured and written again
        self.read += 1
        return found

    def keep(self, key: str, result: Any) -> None:
        """Writes what was measured; where it cannot be written the cache goes off, and the run goes on."""
        if self.off:
            return
        try:
            text = _Writer().text(result)
        except _Uncacheable:
            return
        try:
            path = self._path(key)
            path.parent.mkdir(exist_ok=True)
            write_whole(path, json.dumps({"key": key, "check": digest(text)}) + "\n" + text)
            self.measured += 1
        except OSError as error:
            self.off = f"{self.folder} cannot be written: {error.strerror}"

    def _path(self, key: str) -> Path:
        name = digest(key)
        return self.folder / name[:2] / f"{name}.json"


def cached(measure: Callable[P, R]) -> Callable[P, R]:
    """A measurement of one state of the model, that looks on disk first where its checkpoint has a cache.

    Its first argument is an experiment or a checkpoint. What was read says so in its context. Arguments that have no
    text of their own (a tensor, a generator) make it measure.
    """
    signature = inspect.signature(measure)

    @wraps(measure)
    def measured(*args: P.args, **kwargs: P.kwargs) -> R:
        first, checkpoint = subject_of(args, kwargs)
        if checkpoint is None:
            return measure(*args, **kwargs)
        with checkpoint.guard.measuring() as look:
            if look.cache is None:
                return measure(*args, **kwargs)
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                return measure(*args, **kwargs)  # which says what is missing
            bound.apply_defaults()
            try:
                key = _key(measure, first, look.digest, dict(list(bound.arguments.items())[1:]))
            except _Uncacheable:
                return measure(*args, **kwargs)
            stored: R | None = look.cache.find(key)
            if stored is None:
                stored = measure(*args, **kwargs)
                look.cache.keep(key, stored)
            return stored

    return measured


def result_type(kind: type[R]) -> type[R]:
    """Lets a dataclass be part of what is written and read back."""
    _RESULTS[kind.__name__] = kind
    return kind


def _key(measure: Callable[..., Any], first: Any, state: str, arguments: Mapping[str, Any]) -> str:
    """All that a number depends on, and the state of the model that it belongs to: a probe of the loaded one."""
    checkpoint = getattr(first, "checkpoint", first)
    parts = {
        "format": FORMAT,
        "measure": f"{measure.__module__}.{measure.__qualname__}",
        "code": provenance.own_code(),
        "versions": provenance.versions(),
        "checkpoint": [checkpoint.name, checkpoint.fingerprint, checkpoint.settings],
        "computed": [checkpoint.precision, checkpoint.device.type],
        "state": state,
        "damage": checkpoint.guard.damage,
        "bos": checkpoint.bos,
        "data": None if first is checkpoint else [first.data_identity.to_json(), first.seed, first.data.population],
        "ids": None if first is checkpoint else first.data.clean.identity,
        "arguments": _Writer().text(arguments),
    }
    return json.dumps(parts, sort_keys=True)


class _Writer:
    """Values as JSON; long tuples and samples once each."""

    def __init__(self) -> None:
        self.pool: dict[Hashable, int] = {}
        self.shared: list[Any] = []

    def text(self, value: Any) -> str:
        """The JSON of a value and of what it shares."""
        return json.dumps({"value": self.plain(value), "shared": self.shared})

    def plain(self, value: Any) -> Any:
        if value is None or isinstance(value, str | bool | int | float | Path):
            return str(value) if isinstance(value, Path) else value
        kind = type(value)
        if is_dataclass(value) and not isinstance(value, type):
            if not kind.__module__.startswith("pytest_interp."):
                raise _Uncacheable(kind.__name__)  # what another's class computes has no text
            inside = {field.name: self.plain(getattr(value, field.name)) for field in fields(value)}
            return {"!": kind.__name__, "of": self._once(value, inside) if isinstance(value, Sample) else inside}
        if kind in (list, range):
            return [self.plain(item) for item in value]
        if kind in (set, frozenset):
            return {"!": "set", "of": sorted((self.plain(item) for item in value), key=json.dumps)}
        if isinstance(value, tuple):
            return {"!": kind.__name__, "of": self._tuple(value)}
        if isinstance(value, Mapping):
            return {"!": "dict", "of": [[self.plain(key), self.plain(item)] for key, item in value.items()]}
        raise _Uncacheable(kind.__name__)

    def _tuple(self, value: tuple[Any, ...]) -> Any:
        if len(value) <= _LONG or type(value) is not tuple:
            return [self.plain(item) for item in value]
        if all(type(item) is float for item in value):
            return base64.b64encode(struct.pack(f"<{len(value)}d", *value)).decode()  # see _numbers
        return self.pool[value] if value in self.pool else self._once(value, [self.plain(item) for item in value])

    def _once(self, value: Hashable, inside: Any) -> int:
        """The number of a value that is written once, however often it occurs."""
        if value not in self.pool:
            self.pool[value] = len(self.shared)
            self.shared.append(inside)
        return self.pool[value]


class _Reader:
    """The values that a writer wrote."""

    def __init__(self, text: Mapping[str, Any]) -> None:
        self.shared: list[Any] = []
        for plain in text["shared"]:
            self.shared.append(tuple(self.value(plain)) if isinstance(plain, list) else Sample(**self._fields(plain)))
        self.result = self.value(text["value"])

    def value(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return [self.value(item) if type(item) in (list, dict) else item for item in plain]
        if not isinstance(plain, dict):
            return plain
        kind, inside = plain["!"], plain["of"]
        if kind == "dict":
            return {self.value(key): self.value(item) for key, item in inside}
        if isinstance(inside, int | str):
            return self.shared[inside] if isinstance(inside, int) else _numbers(inside)
        if isinstance(inside, list):
            items = self.value(inside)
            return _COLLECTIONS[kind](items) if kind in _COLLECTIONS else _RESULTS[kind](*items)
        of = self._fields(inside)
        if kind == Measurement.__name__:
            of["context"] = replace(of["context"], cached=True)
        return _RESULTS[kind](**of)

    def _fields(self, inside: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.value(item) for name, item in inside.items()}


def _numbers(text: str) -> tuple[float, ...]:
    bits = base64.b64decode(text, validate=True)
    return struct.unpack(f"<{len(bits) // 8}d", bits)
