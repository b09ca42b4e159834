"""Reads and checks circuit files: one TOML file for each checkpoint.

A mistake that would silently change a claim is an error: an unknown key, a value of another type, the bound of a
quantity that nothing measures, an expected failure of a head without a role.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_interp.circuit import RANDOM_TOKENS, Circuit, ExpectedFailure, Role
from pytest_interp.common.arguments import checked
from pytest_interp.common.quantities import QUANTITIES
from pytest_interp.errors import UsageError, nearest
from pytest_interp.heads import Head, as_head
from pytest_interp.text import line, shown
from pytest_interp.verdict.bound import Bound

_TYPES: Mapping[type, str] = {
    str: 'a string with something in it, such as "END"',
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    dict: "a table",
}
_FILE_KEYS: Mapping[str, type] = {
    "checkpoint": str,
    "task": str,
    "bos": bool,
    "fingerprint": str,
    "quantities": list,
    "found": dict,
    "roles": dict,
    RANDOM_TOKENS: dict,
    "outside": list,
    "everywhere": list,
    "expected_failures": list,
}
_FOUND_KEYS: Mapping[str, type] = {"half": str, "seed": int, "prompts": int, "confirmed_on": str}
_ROLE_KEYS: Mapping[str, type] = {
    "heads": list,
    "at": str,
    "source": str,
    "reads": str,
    "writes": str,
    "sign": object,
    "bounds": dict,
}
_FAILURE_KEYS: Mapping[str, type] = {"claim": str, "heads": list, "reason": str}


@checked
def load_circuit(path: Path) -> Circuit:
    """The circuit in a circuit file, checked.

    Args:
        path: of the TOML file (docs/circuit_files.md).

    Raises:
        UsageError: not TOML; an unknown or missing key; a value of another type; a head that is not LAYER.HEAD; the
            bound of an unknown quantity, or one that accepts nothing; an expected failure of heads without a role.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid TOML ({error}); mend that line") from None
    return read_circuit(text, path)


def read_circuit(text: str, path: Path) -> Circuit:
    """The circuit in the text of a circuit file, checked.

    Args:
        text: of the file, such as a ledger has it.
        path: of the file, for messages.

    Raises:
        UsageError: as `load_circuit`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML ({error}); mend that line") from None
    _check(path, "", data, _FILE_KEYS, needed=("checkpoint",))
    if not data.get("roles") and not data.get(RANDOM_TOKENS):
        raise UsageError(f"{path}: the file lacks roles; write a table [roles.NAME] or [{RANDOM_TOKENS}.NAME]")
    _check(path, "found", data.get("found", {}), _FOUND_KEYS)
    own = _strings(path, "quantities", data.get("quantities", []), 'names such as ["probe_accuracy"]')
    quantities = (*QUANTITIES, *own)
    sections: dict[str, dict[str, Role]] = {"roles": {}, RANDOM_TOKENS: {}}
    for section, roles in sections.items():
        prefix = "" if section == "roles" else f"{section}."
        for name, table in data.get(section, {}).items():
            roles[name] = _role(path, f"{section}.{name}", f"{prefix}{name}", table, quantities)
    lists = {key: _heads(path, key, data[key]) if key in data else () for key in ("outside", "everywhere")}
    circuit = Circuit(
        checkpoint=data["checkpoint"],
        task=data.get("task", "ioi"),
        roles=sections["roles"],
        random_tokens=sections[RANDOM_TOKENS],
        outside=lists["outside"],
        everywhere=lists["everywhere"],
        bos=data.get("bos"),
        fingerprint=data.get("fingerprint", ""),
        discovery=data.get("found", {}),
        path=str(path),
    )
    _check_listed(path, "outside", circuit.outside, circuit.acting)
    if circuit.outside and not circuit.heads:
        raise UsageError(f"{path}: outside lists every head that has a role in the task; leave one in the circuit")
    _check_listed(path, "everywhere", circuit.everywhere, circuit.heads, "has no role in the file or is outside")
    return _with_failures(path, circuit, data.get("expected_failures", []))


def _role(path: Path, key: str, name: str, table: Any, quantities: Sequence[str]) -> Role:
    if "." in key.partition(".")[2]:
        raise UsageError(f"{path}: {key}: the name of a role has no dot; choose another")
    _check(path, key, table, _ROLE_KEYS, needed=("heads", "at", "source"))
    heads = _heads(path, f"{key}.heads", table["heads"])
    sign = table.get("sign", 1)
    if type(sign) is not int or sign not in (1, -1):
        raise UsageError(f"{path}: {key}.sign is {shown(sign)}; allowed: 1, -1")
    bounds: dict[str, dict[str, Mapping[str, Any]]] = {}
    for quantity, by_head in table.get("bounds", {}).items():
        if quantity not in quantities:
            raise UsageError(
                f"{path}: {key}.bounds has the unknown quantity {shown(quantity)}; allowed: "
                f"{', '.join(sorted(quantities))}"
                f"{nearest(quantity, quantities)}; a quantity of your own is declared at the top of the file: "
                f'quantities = ["{quantity}"]'
            )
        _check_type(path, f"{key}.bounds.{quantity}", by_head, dict)
        bounds[quantity] = {}
        for label, bound in by_head.items():
            which = label if label == "default" else str(_head(path, f"{key}.bounds.{quantity}", label))
            if which != "default" and as_head(which) not in heads:
                raise UsageError(f"{path}: {key}.bounds.{quantity} names {which}, which is not in {key}.heads")
            if which in bounds[quantity]:
                raise UsageError(f"{path}: {key}.bounds.{quantity} has {which} twice, {shown(label)} is the second")
            _check_bound(path, f"{key}.bounds.{quantity}.{label}", bound)
            bounds[quantity][which] = bound
    return Role(
        name=name,
        heads=heads,
        at=table["at"],
        source=table["source"],
        reads=table.get("reads", ""),
        writes=table.get("writes", ""),
        sign=sign,
        bounds=bounds,
        quantities=tuple(quantities[len(QUANTITIES) :]),
    )


def _with_failures(path: Path, circuit: Circuit, tables: list[Any]) -> Circuit:
    """The circuit with its expected failures; refuses heads that have no role in it."""
    failures = []
    for table in tables:
        _check(path, "expected_failures", table, _FAILURE_KEYS, needed=("claim", "reason"))
        heads = _heads(path, "expected_failures.heads", table["heads"]) if "heads" in table else ()
        _check_listed(path, f"expected_failures.heads of {table['claim']}", heads, circuit.listed)
        failures.append(ExpectedFailure(table["claim"], heads, line(" ".join(table["reason"].split()), 1_000)))
    return replace(circuit, expected_failures=tuple(failures))


def _check_listed(
    path: Path, key: str, heads: Sequence[Head], listed: Collection[Head], lacks: str = "has no role in the file"
) -> None:
    """Refuses heads that are not among those listed; ``lacks`` says in the message what such a head lacks."""
    for head in heads:
        if head not in listed:
            known = [str(other) for other in sorted(listed)]
            raise UsageError(
                f"{path}: {key} names {head}, which {lacks}; allowed: {', '.join(known)}{nearest(str(head), known)}"
            )


def _heads(path: Path, key: str, values: list[Any]) -> tuple[Head, ...]:
    if not values:
        raise UsageError(f'{path}: {key} is []; it must be a list such as ["9.9", "9.6"]')
    heads = tuple(_head(path, key, value) for value in values)
    if len(set(heads)) != len(heads):
        raise UsageError(f"{path}: {key} lists a head twice: {values}")
    return heads


def _head(path: Path, key: str, value: Any) -> Head:
    try:
        return as_head(value)
    except UsageError as error:
        raise UsageError(f"{path}: {key}: {error}") from None


def _check_bound(path: Path, key: str, bound: Any) -> None:
    """Refuses a bound that ``Bound.of`` refuses."""
    _check_type(path, key, bound, dict)
    if len(bound) != 1:
        raise UsageError(f"{path}: {key} has {len(bound)} bounds; give exactly one, such as {{ at_least = 0.8 }}")
    try:
        Bound.of(**bound)
    except UsageError as error:
        raise UsageError(f"{path}: {key}: {error}") from None


def _strings(path: Path, key: str, values: list[Any], example: str) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str) or not value:
            raise UsageError(f"{path}: {key} has {shown(value)}; it must be a list of {example}")
    return tuple(values)


def _check(path: Path, key: str, table: Any, types: Mapping[str, type], needed: Collection[str] = ()) -> None:
    """Refuses a table with an unknown key, a missing key, or a value of another type.

    Args:
        path: of the file, for the message.
        key: of the table in the file, for the message; empty for the file itself.
        table: as TOML gives it.
        types: the type of each allowed key.
        needed: the keys that must be there.
    """
    _check_type(path, key, table, dict)
    for name, value in table.items():
        if name not in types:
            raise UsageError(
                f"{path}: {key or 'the file'} has the unknown key {shown(name)} (= {shown(value)}); "
                f"allowed: {', '.join(sorted(types))}{nearest(name, types)}"
            )
        _check_type(path, f"{key}.{name}" if key else name, value, types[name])
    missing = [name for name in needed if name not in table]
    if missing:
        raise UsageError(f"{path}: {key or 'the file'} lacks {', '.join(missing)}")


def _check_type(path: Path, key: str, value: object, kind: type) -> None:
    # ``type`` instead of isinstance, since True is an int in Python. An empty string is refused as a missing value.
    if kind is not object and (type(value) is not kind or value == ""):
        raise UsageError(f"{path}: {key} is {shown(value)}; it must be {_TYPES[kind]}")
