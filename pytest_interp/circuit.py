"""A circuit: a checkpoint's roles and heads for a task, with the source of each.

A role that heads have on random tokens said twice is another role than the one in the circuit of a task: the two
stand apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from pytest_interp.errors import NotApplicable, nearest
from pytest_interp.heads import Head
from pytest_interp.measurement import check_quantity
from pytest_interp.text import shown

RANDOM_TOKENS = "random_tokens"
"""The section of roles on random tokens; a claim asks for one of them as ``random_tokens.induction``."""


@dataclass(frozen=True)
class Role:
    """What a set of heads does: where it acts, what it reads and writes, and who says so.

    Attributes:
        name: as a claim asks for it, such as ``name_mover`` or ``random_tokens.induction``; a circuit file may define
            its own.
        heads: the heads, in the file's order.
        at: the named position at which the role acts.
        source: paper and section, or how it was found.
        reads: the position it reads, where the role is defined by that.
        writes: whose token it writes, where the role is defined by that.
        sign: +1 where it raises that token's logit, -1 where it lowers it.
        bounds: by measurement, the bounds that differ on this checkpoint; ``default`` or a head.
        quantities: of a project's own, which the file declares.
    """

    name: str
    heads: tuple[Head, ...]
    at: str
    source: str
    reads: str = ""
    writes: str = ""
    sign: int = 1
    bounds: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    quantities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _freeze(self, "bounds")

    def bound(self, quantity: str, head: Head | None) -> Mapping[str, Any]:
        """The bound that the file sets on a quantity, for one head or for the role; empty if none.

        Raises:
            UsageError: a quantity that nothing measures: its bound would never be found.
        """
        check_quantity(quantity, self.quantities)
        table = self.bounds.get(quantity, {})
        return table.get(str(head)) or table.get("default") or {}


@dataclass(frozen=True)
class ExpectedFailure:
    """A claim that does not hold here, as measured: it runs as a strict xfail."""

    claim: str
    heads: tuple[Head, ...]
    reason: str


@dataclass(frozen=True)
class Circuit:
    """The roles of one checkpoint.

    Attributes:
        checkpoint: whose heads they are.
        task: on which they were found.
        roles: those of the task, by name.
        random_tokens: those on random tokens said twice, by name within their section.
        bos: whether they were found with BOS before each prompt; None where the file does not say.
        fingerprint: of the weights they were measured on.
        found: half, seed and prompts on which they were found.
        expected_failures: claims that do not hold here, as measured.
        path: of the file.
    """

    checkpoint: str
    task: str
    roles: Mapping[str, Role]
    random_tokens: Mapping[str, Role] = field(default_factory=dict)
    bos: bool | None = None
    fingerprint: str = ""
    found: Mapping[str, Any] = field(default_factory=dict)
    expected_failures: tuple[ExpectedFailure, ...] = ()
    path: str = ""

    def __post_init__(self) -> None:
        _freeze(self, "roles", "random_tokens", "found")

    @property
    def heads(self) -> frozenset[Head]:
        """Every head that has a role in the task."""
        return frozenset(head for role in self.roles.values() for head in role.heads)

    @property
    def sections(self) -> Mapping[str, Role]:
        """The roles of both sections, by the name that a claim asks for."""
        return {**self.roles, **{f"{RANDOM_TOKENS}.{name}": role for name, role in self.random_tokens.items()}}

    @property
    def listed(self) -> frozenset[Head]:
        """Every head that has a role, in the task or on random tokens."""
        return frozenset(head for role in self.sections.values() for head in role.heads)

    def role(self, name: str) -> Role:
        """The role of that name, such as ``name_mover`` or ``random_tokens.induction``.

        Raises:
            NotApplicable: the circuit does not have it.
        """
        roles = self.sections
        if name not in roles:
            raise NotApplicable(
                f"the circuit of {self.checkpoint} has no role {shown(name)}; "
                f"it has {', '.join(roles) or 'none'}{nearest(name, roles)}"
            )
        return roles[name]

    def renamed(self, partner: Mapping[Head, Head]) -> Circuit:
        """The circuit with other heads in the place of these, in both sections."""

        def exchanged(roles: Mapping[str, Role]) -> dict[str, Role]:
            return {
                name: replace(role, heads=tuple(partner.get(head, head) for head in role.heads))
                for name, role in roles.items()
            }

        return replace(self, roles=exchanged(self.roles), random_tokens=exchanged(self.random_tokens))

    def role_of(self, head: Head) -> Role | None:
        """The first role of the task that lists this head."""
        return next((role for role in self.roles.values() if head in role.heads), None)


def _freeze(value: Role | Circuit, *names: str) -> None:
    """Makes tables read-only: all claims of a session share them."""
    for name in names:
        object.__setattr__(value, name, _read_only(getattr(value, name)))


def _read_only(table: Any) -> Any:
    if not isinstance(table, Mapping):
        return table
    return MappingProxyType({name: _read_only(item) for name, item in table.items()})
