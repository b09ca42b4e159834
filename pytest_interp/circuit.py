"""Circuits: the roles and heads of a checkpoint for a task, with the source of each.

A role on repeated random tokens, such as induction, says nothing about a task until it is shown there. So roles on
random tokens are kept apart from those of the task.
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
"""The section of roles on random tokens; a claim names such a role ``random_tokens.induction``."""

EVERYWHERE = "all"
"""The position of a head that is kept at every position, as a circuit file writes it."""


@dataclass(frozen=True)
class Role:
    """What a set of heads does, with its source.

    Attributes:
        name: as claims write it, such as ``name_mover`` or ``random_tokens.induction``; a circuit file may define
            further roles.
        heads: the heads, in the file's order.
        at: the named position at which the heads act.
        source: paper and section, or how the heads were found.
        reads: the position that the heads attend to; empty if the role does not depend on it.
        writes: the position whose token the heads write to the logits; empty if the role does not depend on it.
        sign: 1 if the heads raise that token's logit, -1 if they lower it.
        bounds: this checkpoint's own bounds: quantity -> ``default`` or a head -> keyword and value.
        quantities: the project's own quantities, as the file declares them.

    Example:
        >>> role = Role("name_mover", (Head(9, 9),), at="END", source="Wang et al. 2022, 3.1",
        ...             bounds={"copy_score": {"default": {"at_least": 0.8}}})
        >>> dict(role.bound("copy_score", Head(9, 9)))
        {'at_least': 0.8}
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
        """The bound that the circuit file sets for a quantity.

        Args:
            quantity: such as ``copy_score``.
            head: a head of the role, whose own bound is preferred; None for the bound of the role.

        Returns:
            A keyword of ``Bound.of`` and its value; an empty mapping if the file sets none.

        Raises:
            UsageError: a quantity that nothing measures, so that no file could set its bound.
        """
        check_quantity(quantity, self.quantities)
        table = self.bounds.get(quantity, {})
        return table.get(str(head)) or table.get("default") or {}


@dataclass(frozen=True)
class ExpectedFailure:
    """A claim that is known to fail on this checkpoint; it runs as a strict xfail.

    Attributes:
        claim: the name of the test.
        heads: the heads for which it fails; empty for all.
        reason: what was measured.
    """

    claim: str
    heads: tuple[Head, ...]
    reason: str


@dataclass(frozen=True)
class Circuit:
    """The roles and heads of one checkpoint for one task.

    Attributes:
        checkpoint: the name of the checkpoint.
        task: the task on which the roles were found.
        roles: the roles in the task, by name.
        random_tokens: the roles on repeated random tokens, by name within their section.
        outside: heads that have a role in the task and do not belong to the circuit: it is faithful without them.
        everywhere: heads that the circuit keeps at every position, not at those of their roles alone.
        bos: whether the roles were found with BOS before each prompt; None if the file does not say.
        fingerprint: of the weights that were measured.
        discovery: the half, seed and number of prompts on which the heads were found (``[found]`` in the file).
        expected_failures: the claims that are known to fail on this checkpoint.
        path: of the circuit file.

    Example:
        >>> movers = Role("name_mover", (Head(9, 9), Head(9, 6)), at="END", source="Wang et al. 2022, 3.1")
        >>> circuit = Circuit("gpt2", "ioi", {"name_mover": movers})
        >>> sorted(map(str, circuit.heads)), circuit.role_of(Head(9, 6)).name
        (['9.6', '9.9'], 'name_mover')
    """

    checkpoint: str
    task: str
    roles: Mapping[str, Role]
    random_tokens: Mapping[str, Role] = field(default_factory=dict)
    outside: tuple[Head, ...] = ()
    everywhere: tuple[Head, ...] = ()
    bos: bool | None = None
    fingerprint: str = ""
    discovery: Mapping[str, Any] = field(default_factory=dict)
    expected_failures: tuple[ExpectedFailure, ...] = ()
    path: str = ""

    def __post_init__(self) -> None:
        _freeze(self, "roles", "random_tokens", "discovery")

    @property
    def heads(self) -> frozenset[Head]:
        """Every head of the circuit: it has a role in the task, and is not outside."""
        return self.acting - frozenset(self.outside)

    @property
    def acting(self) -> frozenset[Head]:
        """Every head that has a role in the task."""
        return frozenset(head for role in self.roles.values() for head in role.heads)

    @property
    def positions(self) -> Mapping[Head, tuple[str, ...] | None]:
        """Where each head of the circuit is kept: at the positions of all its roles; None for every position."""
        positions: dict[Head, tuple[str, ...] | None] = {}
        for head in sorted(self.heads):
            names = tuple(role.at for role in self.roles.values() if head in role.heads)
            positions[head] = None if head in self.everywhere or EVERYWHERE in names else names
        return positions

    @property
    def sections(self) -> Mapping[str, Role]:
        """All roles, by the names that claims write."""
        return {**self.roles, **{f"{RANDOM_TOKENS}.{name}": role for name, role in self.random_tokens.items()}}

    @property
    def listed(self) -> frozenset[Head]:
        """Every head that has a role, in the task or on random tokens."""
        return frozenset(head for role in self.sections.values() for head in role.heads)

    def role(self, name: str) -> Role:
        """The role of this name.

        Args:
            name: such as ``name_mover`` or ``random_tokens.induction``.

        Raises:
            NotApplicable: the circuit has no such role.
        """
        roles = self.sections
        if name not in roles:
            raise NotApplicable(
                f"the circuit of {self.checkpoint} has no role {shown(name)}; "
                f"it has {', '.join(roles) or 'none'}{nearest(name, roles)}"
            )
        return roles[name]

    def renamed(self, partner: Mapping[Head, Head]) -> Circuit:
        """The circuit with heads replaced by others, in both sections.

        Args:
            partner: for each head that is replaced, the head that replaces it.
        """

        def exchanged(roles: Mapping[str, Role]) -> dict[str, Role]:
            return {
                name: replace(role, heads=tuple(partner.get(head, head) for head in role.heads))
                for name, role in roles.items()
            }

        return replace(
            self,
            roles=exchanged(self.roles),
            random_tokens=exchanged(self.random_tokens),
            outside=tuple(partner.get(head, head) for head in self.outside),
            everywhere=tuple(partner.get(head, head) for head in self.everywhere),
        )

    def role_of(self, head: Head) -> Role | None:
        """The first role of the task that lists this head; None if no role does."""
        return next((role for role in self.roles.values() if head in role.heads), None)


def _freeze(value: Role | Circuit, *names: str) -> None:
    """Makes the tables of a value read-only, since all claims of a session share them."""
    for name in names:
        object.__setattr__(value, name, _read_only(getattr(value, name)))


def _read_only(table: Any) -> Any:
    if not isinstance(table, Mapping):
        return table
    return MappingProxyType({name: _read_only(item) for name, item in table.items()})
