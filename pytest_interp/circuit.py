"""A circuit: a checkpoint's roles and heads for a task, with the source of each, from one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_interp.errors import UsageError, nearest
from pytest_interp.heads import Head, as_head

_FILE_KEYS = {"checkpoint", "task", "bos", "fingerprint", "found", "roles", "expected_failures"}
_ROLE_KEYS = {"heads", "at", "source", "reads", "writes", "sign", "bounds"}
_FAILURE_KEYS = {"claim", "heads", "reason"}
_BOUND_KEYS = {"at_least", "at_most", "between", "near"}


@dataclass(frozen=True)
class Role:
    """What a set of heads does: where it acts, what it reads and writes, and who says so.

    Attributes:
        name: ``name_mover`` and the like; a circuit file may define its own.
        heads: the heads, in the file's order.
        at: the named position at which the role acts.
        source: paper and section, or how it was found.
        reads: the position it reads, where the role is defined by that.
        writes: whose token it writes, where the role is defined by that.
        sign: +1 where it raises that token's logit, -1 where it lowers it.
        bounds: by measurement, the bounds that differ on this checkpoint; ``default`` or a head.
    """

    name: str
    heads: tuple[Head, ...]
    at: str
    source: str
    reads: str = ""
    writes: str = ""
    sign: int = 1
    bounds: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def bound(self, quantity: str, head: Head | None) -> Mapping[str, Any]:
        """The bound that the file sets on a quantity, for one head or for the role; empty if none."""
        table = self.bounds.get(quantity, {})
        return table.get(str(head)) or table.get("default") or {}


@dataclass(frozen=True)
class ExpectedFailure:
    """A claim that does not hold here, as measured: it runs as a strict xfail."""

    claim: str
    heads: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Circuit:
    """The roles of one checkpoint.

    Attributes:
        checkpoint: whose heads they are.
        task: on which they were found.
        roles: by name.
        bos: whether they were found with BOS before each prompt; None where the file does not say.
        fingerprint: of the weights they were measured on.
        found: half, seed and prompts on which they were found.
        expected_failures: claims that do not hold here, as measured.
        path: of the file.
    """

    checkpoint: str
    task: str
    roles: Mapping[str, Role]
    bos: bool | None = None
    fingerprint: str = ""
    found: Mapping[str, Any] = field(default_factory=dict)
    expected_failures: tuple[ExpectedFailure, ...] = ()
    path: str = ""

    @property
    def heads(self) -> frozenset[Head]:
        """Every head that has a role."""
        return frozenset(head for role in self.roles.values() for head in role.heads)

    def role(self, name: str) -> Role:
        """The role of that name.

        Raises:
            UsageError: the circuit does not have it.
        """
        if name not in self.roles:
            raise UsageError(
                f"the circuit of {self.checkpoint} has no role {name!r}; "
                f"it has {', '.join(self.roles)}{nearest(name, self.roles)}"
            )
        return self.roles[name]

    def renamed(self, partner: Mapping[Head, Head]) -> Circuit:
        """The circuit with other heads in the place of these."""
        roles = {
            name: replace(role, heads=tuple(partner.get(head, head) for head in role.heads))
            for name, role in self.roles.items()
        }
        return replace(self, roles=roles)

    def role_of(self, head: Head) -> Role | None:
        """The first role that lists this head."""
        return next((role for role in self.roles.values() if head in role.heads), None)


def load_circuit(path: Path) -> Circuit:
    """Reads and checks a circuit file.

    Raises:
        UsageError: not TOML, an unknown or missing key, or a head that is not LAYER.HEAD.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML ({error}); mend that line") from None
    _check_keys(path, "the file", data, _FILE_KEYS, {"checkpoint", "roles"})
    _check_type(path, "roles", data["roles"], dict)
    roles = {name: _role(path, name, table) for name, table in data["roles"].items()}
    failures = []
    if not isinstance(data.get("expected_failures", []), list):
        raise UsageError(f"{path}: expected_failures must be a list of tables: [[expected_failures]]")
    for table in data.get("expected_failures", []):
        _check_keys(path, "expected_failures", table, _FAILURE_KEYS, {"claim", "reason"})
        failures.append(ExpectedFailure(table["claim"], tuple(table.get("heads", ())), table["reason"]))
    return Circuit(
        checkpoint=data["checkpoint"],
        task=data.get("task", "ioi"),
        roles=roles,
        bos=data.get("bos"),
        fingerprint=data.get("fingerprint", ""),
        found=data.get("found", {}),
        expected_failures=tuple(failures),
        path=str(path),
    )


def _role(path: Path, name: str, table: Any) -> Role:
    where = f"roles.{name}"
    _check_type(path, where, table, dict)
    _check_keys(path, where, table, _ROLE_KEYS, {"heads", "at", "source"})
    if not isinstance(table["heads"], list) or not table["heads"]:
        raise UsageError(f'{path}: {where}.heads is {table["heads"]!r}; it must be a list such as ["9.9", "9.6"]')
    if table.get("sign", 1) not in (1, -1):
        raise UsageError(f"{path}: {where}.sign is {table['sign']!r}; allowed: 1, -1")
    try:
        heads = tuple(as_head(item) for item in table["heads"])
    except UsageError as error:
        raise UsageError(f"{path}: {where}.heads: {error}") from None
    if len(set(heads)) != len(heads):
        raise UsageError(f"{path}: {where}.heads lists a head twice: {table['heads']}")
    bounds = table.get("bounds", {})
    _check_type(path, f"{where}.bounds", bounds, dict)
    for quantity, by_head in bounds.items():
        _check_type(path, f"{where}.bounds.{quantity}", by_head, dict)
        for who, bound in by_head.items():
            _check_keys(path, f"{where}.bounds.{quantity}.{who}", bound, _BOUND_KEYS, set())
            if len(bound) != 1:
                raise UsageError(f"{path}: {where}.bounds.{quantity}.{who} has {len(bound)} bounds; give exactly one")
            if who != "default" and who not in table["heads"]:
                raise UsageError(f"{path}: {where}.bounds.{quantity} names {who}, which is not in {where}.heads")
    return Role(
        name=name,
        heads=heads,
        at=table["at"],
        source=table["source"],
        reads=table.get("reads", ""),
        writes=table.get("writes", ""),
        sign=table.get("sign", 1),
        bounds=bounds,
    )


def _check_type(path: Path, where: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise UsageError(f"{path}: {where} is {value!r}; it must be a table")


def _check_keys(path: Path, where: str, table: Any, allowed: set[str], needed: set[str]) -> None:
    _check_type(path, where, table, dict)
    for key in table:
        if key not in allowed:
            raise UsageError(
                f"{path}: {where} has the unknown key {key!r}; "
                f"allowed: {', '.join(sorted(allowed))}{nearest(key, allowed)}"
            )
    missing = sorted(needed - set(table))
    if missing:
        raise UsageError(f"{path}: {where} lacks {', '.join(missing)}")
