"""Measurements on disk (``--interp-cache``): a number is read only where the same code would compute it again.

The key holds all that a number depends on: weights, configuration and tokenizer; the outputs of the loaded model on
fixed prompts; the prompts; the measurement and its arguments; dtype and device; the libraries' versions; a hash of this
package. Where a part of it is uncertain, as with a library that was changed after its installation, nothing is read.
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
"""Tuples longer than this, which have an item for each prompt, are written in a shorter form."""


class _Uncacheable(TypeError):
    """Raised for a value that cannot be written as JSON: there is no key, or no copy on disk, of it."""


@dataclass
class Cache:
    """A folder of measurements.

    Attributes:
        folder: where they are.
        disabled_reason: why nothing is read or written; empty if the cache is used.
        read: how many measurements were read from it.
        measured: how many were measured and written to it.

    Example:
        >>> import tempfile
        >>> cache = Cache(Path(tempfile.mkdtemp()))
        >>> cache.keep("a key", (1.5, "logits"))
        >>> cache.find("a key"), cache.find("another key")
        ((1.5, 'logits'), None)
    """

    folder: Path
    disabled_reason: str = ""
    read: int = 0
    measured: int = 0

    @classmethod
    def at(cls, folder: Path) -> Cache:
        """The cache in a folder; disabled, with the reason, where it must not be used.

        Args:
            folder: created if it does not exist.
        """
        cache = cls(folder, provenance.changed())
        if not cache.disabled_reason:
            try:
                make_cache(folder)
            except OSError as error:
                cache.disabled_reason = f"{folder} cannot be written: {error.strerror}"
        return cache

    @property
    def summary(self) -> str:
        """A line on the use of the cache, for the end of a run."""
        if self.disabled_reason:
            return f"cache not used: {self.disabled_reason}"
        return f"cache {self.folder}: {self.read} measurements read from disk, {self.measured} measured and kept"

    def find(self, key: str) -> Any:
        """The result under a key; None where there is none, or where the file is damaged.

        Args:
            key: see :func:`cached`.
        """
        try:
            head, _, text = self._path(key).read_text(encoding="utf-8").partition("\n")
            if json.loads(head) != {"key": key, "check": digest(text)}:
                return None
            result = _Reader(json.loads(text)).result
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, struct.error):
            return None  # absent, cut off, or another program's: it is measured and written again
        self.read += 1
        return result

    def keep(self, key: str, result: Any) -> None:
        """Writes a result. If the folder cannot be written, the cache is disabled and the run goes on.

        Args:
            key: see :func:`cached`.
            result: values of types that :func:`result_type` knows; others are not written.
        """
        if self.disabled_reason:
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
            self.disabled_reason = f"{self.folder} cannot be written: {error.strerror}"

    def _path(self, key: str) -> Path:
        """The file of a key; so many files are spread over 256 folders."""
        name = digest(key)
        return self.folder / name[:2] / f"{name}.json"


def cached(measure: Callable[P, R]) -> Callable[P, R]:
    """Makes a function one measurement of a state of the model, read from disk where its checkpoint has a cache.

    The context of a result that was read has ``cached=True``. If an argument cannot be written as JSON (a tensor, a
    generator), the cache is bypassed.

    Args:
        measure: its first argument is an experiment or a checkpoint.

    Returns:
        The function with the same arguments and results.
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
    """Registers a dataclass or named tuple, so that results on disk may contain it; a decorator.

    Args:
        kind: a class of this package with a name of its own.
    """
    _RESULTS[kind.__name__] = kind
    return kind


def _key(measure: Callable[..., Any], first: Any, state: str, arguments: Mapping[str, Any]) -> str:
    """The key of a result: all that it depends on, as JSON.

    Args:
        measure: the measurement.
        first: its first argument, an experiment or a checkpoint.
        state: a hash of the loaded model's state, outputs on fixed prompts included.
        arguments: all others by name.

    Raises:
        _Uncacheable: an argument cannot be written as JSON.
    """
    checkpoint = getattr(first, "checkpoint", first)
    parts = {
        "format": FORMAT,
        "measure": f"{measure.__module__}.{measure.__qualname__}",
        "code": provenance.own_code(),
        "versions": provenance.versions(),
        "checkpoint": [checkpoint.name, checkpoint.fingerprint, checkpoint.settings, checkpoint.spec.shared],
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
    """Turns values into JSON.

    JSON has no tuples, sets, dictionaries with other keys than strings, or classes. So these become an object with two
    keys, the type and what is in it:

    ==============================  =============================================================================
    a value                         its JSON
    ==============================  =============================================================================
    None, bool, int, float, str     as it is
    a path                          its text
    a list or range                 ``[item, ...]``
    a set                           ``{"!": "set", "of": [item, ...]}``, in the order of their JSON
    a mapping                       ``{"!": "dict", "of": [[key, item], ...]}``
    a dataclass of this package     ``{"!": "Head", "of": {"layer": 9, "head": 6}}``
    a tuple, or a named tuple       ``{"!": "tuple", "of": [item, ...]}``, with the name of its class
    a long tuple of floats          ``{"!": "tuple", "of": "..."}``: the bits of its doubles in base64
    another long tuple, a sample    ``{"!": "tuple", "of": 3}``: a place in the list ``shared``
    ==============================  =============================================================================

    All cells of a table have the same sample of prompts: ``shared`` holds it once.
    """

    def __init__(self) -> None:
        self.place_of: dict[Hashable, int] = {}
        self.shared: list[Any] = []

    def text(self, value: Any) -> str:
        """The JSON text of a value, with the long tuples in it.

        Raises:
            _Uncacheable: something in it has no JSON, such as a tensor or an object of a foreign class.
        """
        return json.dumps({"value": self.plain(value), "shared": self.shared})

    def plain(self, value: Any) -> Any:
        """A value as what the json module writes."""
        if value is None or isinstance(value, str | bool | int | float | Path):
            return str(value) if isinstance(value, Path) else value
        kind = type(value)
        if is_dataclass(value) and not isinstance(value, type):
            if not kind.__module__.startswith("pytest_interp."):
                raise _Uncacheable(kind.__name__)  # the fields of a foreign class may not be all that it depends on
            return {
                "!": kind.__name__,
                "of": self._once(value, self._fields) if kind is Sample else self._fields(value),
            }
        if kind in (list, range):
            return [self.plain(item) for item in value]
        if kind in (set, frozenset):
            return {"!": "set", "of": sorted((self.plain(item) for item in value), key=json.dumps)}
        if isinstance(value, tuple):
            return {"!": kind.__name__, "of": self._items(value)}
        if isinstance(value, Mapping):
            return {"!": "dict", "of": [[self.plain(key), self.plain(item)] for key, item in value.items()]}
        raise _Uncacheable(kind.__name__)

    def _items(self, value: tuple[Any, ...]) -> Any:
        """The items of a tuple; of a long plain one the bits of its floats, or its place in ``shared``."""
        if len(value) <= _LONG or type(value) is not tuple:
            return [self.plain(item) for item in value]
        if all(type(item) is float for item in value):
            return base64.b64encode(struct.pack(f"<{len(value)}d", *value)).decode()
        return self._once(value, lambda items: [self.plain(item) for item in items])

    def _fields(self, value: Any) -> dict[str, Any]:
        """The fields of a dataclass by name."""
        return {item.name: self.plain(getattr(value, item.name)) for item in fields(value)}

    def _once(self, value: Any, write: Callable[[Any], Any]) -> int:
        """The place in ``shared`` of a value that is written once, however often it occurs."""
        if value not in self.place_of:
            content = write(value)  # may put other values before this one
            self.place_of[value] = len(self.shared)
            self.shared.append(content)
        return self.place_of[value]


class _Reader:
    """Turns the JSON of :class:`_Writer` back into values.

    Attributes:
        result: the value.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.shared: list[Any] = []
        for plain in content["shared"]:  # an entry refers to those before it only
            self.shared.append(tuple(self.value(plain)) if isinstance(plain, list) else Sample(**self._fields(plain)))
        self.result = self.value(content["value"])

    def value(self, plain: Any) -> Any:
        """The value that ``plain`` was made of."""
        if isinstance(plain, list):
            return [self.value(item) if type(item) in (list, dict) else item for item in plain]
        if not isinstance(plain, dict):
            return plain
        kind, content = plain["!"], plain["of"]
        if kind == "dict":
            return {self.value(key): self.value(item) for key, item in content}
        if isinstance(content, int | str):
            return self.shared[content] if isinstance(content, int) else _doubles(content)
        if isinstance(content, list):
            items = self.value(content)
            return _COLLECTIONS[kind](items) if kind in _COLLECTIONS else _RESULTS[kind](*items)
        by_field = self._fields(content)
        if kind == Measurement.__name__:
            by_field["context"] = replace(by_field["context"], cached=True)
        return _RESULTS[kind](**by_field)

    def _fields(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a dataclass by name."""
        return {name: self.value(item) for name, item in content.items()}


def _doubles(text: str) -> tuple[float, ...]:
    """The floats whose bits are in a text of base64."""
    bits = base64.b64decode(text, validate=True)
    return struct.unpack(f"<{len(bits) // 8}d", bits)
