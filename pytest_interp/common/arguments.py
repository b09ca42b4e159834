"""Arguments against the signature that they are passed to: a sentence for each of another kind, before anything runs.

A kind is what an annotation says, word by word: ``str``, ``Sequence[str]``, ``Experiment``, ``Literal["a", "b"]``. What
a value must be beside its kind (a position that the prompts have, a head of the model) is checked where it is used.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import fields
from functools import cache, wraps
from math import isfinite
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar, cast, get_args, get_origin

from pytest_interp.errors import UsageError, nearest
from pytest_interp.text import shown

P = ParamSpec("P")
R = TypeVar("R")

MOST_PROMPTS = 100_000
"""How many prompts may be asked for: templates and names do not give more different ones, and drawing takes hours."""


class Kind(NamedTuple):
    """What values an argument may have, and how that is said after "pass"."""

    accepts: Callable[[Any], bool]
    said: str
    words: tuple[Any, ...] = ()


def is_text(value: object) -> bool:
    """Whether a value is a string."""
    return isinstance(value, str)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number that a machine can hold; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def is_number(value: object) -> bool:
    """Whether a value is a finite number; True and False are none."""
    return (isinstance(value, float) and isfinite(value)) or is_whole(value)


def is_list_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a value is a list (or a tuple, a range) all of whose entries are accepted."""
    return lambda value: isinstance(value, Sequence) and not isinstance(value, str | bytes) and all(map(accepts, value))


def is_position(value: object) -> bool:
    """Whether a value is the name of a position, or an index."""
    return is_text(value) or is_whole(value)


def is_a(name: str) -> Callable[[Any], bool]:
    """Whether a value is of a class of this package, by its name: classes are imported where they are needed."""
    return lambda value: any(
        kind.__name__ == name and kind.__module__.startswith("pytest_interp.") for kind in type(value).__mro__
    )


def _is_pair(value: object) -> bool:
    return is_list_of(is_text)(value) and len(value) == 2  # type: ignore[arg-type]


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(is_text, value))


def _is_tokenizer(value: object) -> bool:
    return callable(value) and all(hasattr(value, name) for name in ("bos_token_id", "decode", "get_vocab"))


_EXPERIMENT = Kind(is_a("Experiment"), "an Experiment (a checkpoint on a data set), such as the fixture `ioi`")
_NUMBER = Kind(is_number, "a finite number")
_WHOLE = Kind(is_whole, "a whole number")
_TEXT = Kind(is_text, "a string")
_TEXTS = Kind(is_list_of(is_text), 'a list of strings, such as ["a", "b"]')
_POSITIONS = Kind(is_list_of(is_position), 'a list of positions, such as ["S2", "END"]')
_MAP = Kind(_is_map, "a dictionary whose keys are strings")

TOKENIZER = Kind(_is_tokenizer, "a Hugging Face tokenizer, such as checkpoint.tokenizer")

KINDS: Mapping[str, Kind] = {
    "None": Kind(lambda value: value is None, "None"),
    "str": _TEXT,
    "Score": _TEXT,
    "Population": _TEXT,
    "int": _WHOLE,
    "float": _NUMBER,
    "bool": Kind(lambda value: isinstance(value, bool), "True or False"),
    "Sequence[str]": _TEXTS,
    "tuple[str, ...]": _TEXTS,
    "tuple[str, str]": Kind(_is_pair, "a pair of strings"),
    "Collection[int]": Kind(lambda value: _is_collection(value, is_whole), "a list of whole numbers, such as [0, 1]"),
    "Collection[tuple[str, str]]": Kind(lambda value: _is_collection(value, _is_pair), "a list of pairs of strings"),
    "Sequence[Sequence[int]]": Kind(is_list_of(is_list_of(lambda _: True)), "a list of lists of token ids"),
    "Sequence[str | int]": _POSITIONS,
    "Sequence[str | Path]": Kind(is_list_of(lambda value: is_text(value) or hasattr(value, "__fspath__")),
                                 "a list of names or paths"),
    "At": Kind(lambda value: value is None or is_position(value) or is_list_of(is_position)(value),
               "the name of a position, an index, a list of them, or None for all positions"),
    "Experiment": _EXPERIMENT,
    "Checkpoint": Kind(is_a("Checkpoint"), "a Checkpoint, such as the fixture `checkpoint`"),
    "DataSet": Kind(is_a("DataSet"), "a DataSet, which the functions of pytest_interp.tasks return"),
    "Measurement": Kind(is_a("Measurement"), "a Measurement, which the functions of pytest_interp.measure return"),
    "Sample": Kind(is_a("Sample"), "a Sample: the labels, clusters and population of the values"),
    "Circuit": Kind(is_a("Circuit"), "a Circuit, such as checkpoint.circuit"),
    "Bound": Kind(is_a("Bound"), "a Bound, such as Bound.of(at_least=0.8)"),
    "Table[Head]": Kind(is_a("Table"), "the Table that a sweep returned"),
    "Metric": Kind(is_a("Metric"), "a Metric"),
    "Path": Kind(lambda value: hasattr(value, "read_text"), "a pathlib.Path"),
    "Mapping[str, Sequence[str]]": _MAP,
    "Mapping[str, Sequence[Sequence[int]]]": _MAP,
    "Mapping[str, int | Sequence[int]]": _MAP,
    "Mapping[str, Json]": _MAP,
    "tuple[float, ...]": Kind(is_list_of(lambda value: isinstance(value, float | int)), "numbers"),
    "tuple[tuple[str, ...], ...]": Kind(is_list_of(is_list_of(is_text)), "a tuple of strings for each value"),
}  # fmt: skip
"""What an annotation says of a value; one that does not stand here (nor is a Literal) is checked where it is used."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "Ablation": ("mean", "zero", "resample", "permute"),
    "Activation": ("z", "q", "k", "v", "pattern"),
    "Detector": ("previous_token", "duplicate_token", "induction"),
    "Direction": ("denoise", "noise"),
    "Into": ("q", "k", "v"),
    "MLPs": ("recompute", "freeze"),
    "Stream": ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"),
    "ValueBias": ("kept", "removed"),
}
"""What Literals say that modules know for type checking only: those of modules that import torch."""

_BY_NAME: Mapping[str, Kind] = {
    "tokenizer": TOKENIZER,
    "n": Kind(lambda value: is_whole(value) and value <= MOST_PROMPTS, f"a whole number up to {MOST_PROMPTS}"),
    "length": Kind(lambda value: is_whole(value) and value <= MOST_PROMPTS, f"a whole number up to {MOST_PROMPTS}"),
}
"""Arguments whose name says what their annotation does not."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, refusing arguments of another kind than its annotations say.

    Raises:
        UsageError: (when called) such an argument; the sentence has its name, what was passed and what may be.
    """
    signature, known = inspect.signature(function), inspect.unwrap(function).__globals__
    wanted = {
        name: kinds
        for name, parameter in signature.parameters.items()
        if (kinds := [_BY_NAME[name]] if name in _BY_NAME else kinds_of(str(parameter.annotation), known))
    }

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        try:
            arguments = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # which says what is missing
        for name, value in arguments.items():
            if name in wanted and value is not signature.parameters[name].default:
                check(name, value, wanted[name])
        return function(*args, **kwargs)

    return call


def subject_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """What a call is about: its first argument, an experiment or a checkpoint, and the checkpoint.

    The checkpoint is None where the argument is something else; the function that is called says what it expects.
    """
    first = args[0] if args else kwargs.get("experiment", kwargs.get("checkpoint"))
    checkpoint = getattr(first, "checkpoint", first)
    return first, checkpoint if hasattr(checkpoint, "guard") else None


def check_fields(value: Any) -> None:
    """Refuses a dataclass with a field of another kind than its annotation says.

    Raises:
        UsageError: such a field.
    """
    for name, kinds in _fields_of(cast("Hashable", type(value))):
        check(f"{name} of {type(value).__name__}", getattr(value, name), kinds)


@cache
def _fields_of(of: Hashable) -> Sequence[tuple[str, list[Kind]]]:
    return [(part.name, kinds) for part in fields(cast("Any", of)) if (kinds := kinds_of(str(part.type), {}))]


def check(name: str, value: Any, kinds: Sequence[Kind]) -> None:
    """Refuses a value that is of none of these kinds.

    Raises:
        UsageError: it is of none.
    """
    if any(_accepted(kind, value) for kind in kinds):
        return
    words = [word for kind in kinds for word in kind.words]
    said = [kind.said for kind in kinds]
    allowed = f"allowed: {', '.join(said)}{nearest(value, words)}" if words else f"pass {' or '.join(said)}"
    raise UsageError(f"{name} is {shown(value)}; {allowed}")


def require_some(name: str, values: Collection[Any]) -> None:
    """Refuses an empty list where there must be an entry.

    Raises:
        UsageError: it is empty.
    """
    if not values:
        raise UsageError(f"{name} is empty; pass at least one")


def _accepted(kind: Kind, value: Any) -> bool:
    try:
        return kind.accepts(value)
    except Exception:
        return False


def kinds_of(annotation: str, known: Mapping[str, Any]) -> list[Kind]:
    """The kinds that an annotation allows; none where it says something that is checked elsewhere.

    Args:
        annotation: as it stands in the source.
        known: the names that it may use; those of Literals are looked up in it.
    """
    kinds = [_kind_of(part, known) for part in _alternatives(annotation)]
    return [] if None in kinds else [kind for kind in kinds if kind is not None]


def _kind_of(word: str, known: Mapping[str, Any]) -> Kind | None:
    alias = known.get(word)
    if get_origin(alias) is Literal:
        return _one_of(get_args(alias))
    if word.startswith("Literal["):
        return _one_of(ast.literal_eval(f"({word.removeprefix('Literal[').removesuffix(']')},)"))
    return _one_of(WORDS[word]) if word in WORDS else KINDS.get(word)


def _one_of(words: Sequence[Any]) -> Kind:
    # True == 1, and an array says neither yes nor no.
    return Kind(
        lambda value: any(type(value) is type(word) and value == word for word in words),
        ", ".join(map(repr, words)),
        tuple(words),
    )


def _alternatives(annotation: str) -> list[str]:
    """The parts of a union, brackets kept whole."""
    parts, depth = [""], 0
    for character in annotation:
        depth += (character == "[") - (character == "]")
        if character == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _is_collection(value: object, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes) and all(map(accepts, value))
