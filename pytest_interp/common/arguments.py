"""Checks of arguments against a function's annotations, before anything runs; each error says what may be passed.

A *kind* is a set of accepted values, with its description. It follows from the text of an annotation: ``str``,
``Sequence[str]``, ``Experiment``, ``Literal["a", "b"]``. Further conditions (a position that the prompts have, a head
of the model) are checked where the value is used.
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
"""The largest number of prompts: templates and names do not give more different ones, and drawing them takes hours."""


class Kind(NamedTuple):
    """The values that an argument may have.

    Attributes:
        accepts: whether a value is one of them.
        description: of the values, as it follows "pass" in a message.
        words: the values themselves, if they are few.
    """

    accepts: Callable[[Any], bool]
    description: str
    words: tuple[Any, ...] = ()


def is_text(value: object) -> bool:
    """Whether a value is a string."""
    return isinstance(value, str)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number of at most 64 bits; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def is_number(value: object) -> bool:
    """Whether a value is a finite number; True and False are not."""
    return (isinstance(value, float) and isfinite(value)) or is_whole(value)


def is_list_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A test whether a value is a list, tuple or range whose entries are all accepted."""
    return lambda value: isinstance(value, Sequence) and not isinstance(value, str | bytes) and all(map(accepts, value))


def is_position(value: object) -> bool:
    """Whether a value is the name of a position, or an index."""
    return is_text(value) or is_whole(value)


def is_a(name: str) -> Callable[[Any], bool]:
    """A test whether a value is of a class of this package; it takes the name, so that the class is not imported."""
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
    "Mapping[str, str | int]": _MAP,
    "tuple[float, ...]": Kind(is_list_of(lambda value: isinstance(value, float | int)), "numbers"),
    "tuple[tuple[str, ...], ...]": Kind(is_list_of(is_list_of(is_text)), "a tuple of strings for each value"),
}  # fmt: skip
"""The kind of each annotation; arguments with other annotations, except Literals, are checked where they are used."""

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
"""The words of Literals that a function's module imports for type checking only, as they stand beside torch code."""

_BY_NAME: Mapping[str, Kind] = {
    "tokenizer": TOKENIZER,
    "n": Kind(lambda value: is_whole(value) and value <= MOST_PROMPTS, f"a whole number up to {MOST_PROMPTS}"),
    "length": Kind(lambda value: is_whole(value) and value <= MOST_PROMPTS, f"a whole number up to {MOST_PROMPTS}"),
}
"""The kinds of arguments by name, where the annotation says too little."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator: the function refuses arguments that do not match its annotations.

    Raises:
        UsageError: (when called) such an argument; the message has its name, its value and what may be passed.
    """
    signature, known = inspect.signature(function), inspect.unwrap(function).__globals__
    kinds_by_name = {
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
            return function(*args, **kwargs)  # Python's own error says which argument is missing
        for name, value in arguments.items():
            if name in kinds_by_name and value is not signature.parameters[name].default:
                check(name, value, kinds_by_name[name])
        return function(*args, **kwargs)

    return call


def subject_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """The experiment or checkpoint that a call measures, and the checkpoint itself.

    Args:
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.

    Returns:
        The first argument, and its checkpoint; None for the checkpoint if the argument is something else, which the
        called function refuses.
    """
    first = args[0] if args else kwargs.get("experiment", kwargs.get("checkpoint"))
    checkpoint = getattr(first, "checkpoint", first)
    return first, checkpoint if hasattr(checkpoint, "guard") else None


def check_fields(value: Any) -> None:
    """Refuses a dataclass with a field that does not match its annotation.

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

    Args:
        name: of the argument, for the message.
        value: the argument.
        kinds: the kinds that are allowed.

    Raises:
        UsageError: the value is of none of them.

    Example:
        >>> check("n", 3, kinds_of("int | None", {}))
    """
    if any(_accepted(kind, value) for kind in kinds):
        return
    words = [word for kind in kinds for word in kind.words]
    texts = [kind.description for kind in kinds]
    allowed = f"allowed: {', '.join(texts)}{nearest(value, words)}" if words else f"pass {' or '.join(texts)}"
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
    """The kinds that an annotation allows.

    Args:
        annotation: as it stands in the source.
        known: the globals of its module, in which names of Literals are looked up.

    Returns:
        A kind for each part of a union; an empty list if a part is not in ``KINDS``, so that nothing is checked here.

    Example:
        >>> [kind.description for kind in kinds_of("bool | None", {})]
        ['True or False', 'None']
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
    # Types are compared first: True == 1, and an array compared with a word has no truth value.
    return Kind(
        lambda value: any(type(value) is type(word) and value == word for word in words),
        ", ".join(map(repr, words)),
        tuple(words),
    )


def _alternatives(annotation: str) -> list[str]:
    """The parts of a union; a bar inside brackets does not divide."""
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
