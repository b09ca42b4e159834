"""Selects the checkpoints, roles and heads that a claim runs on, from options, circuit files and the claim's marker.

1. Circuit files: those in the nearest folder ``circuits`` at or above the claim's file, or in those of the ini key
   ``interp_circuits``.
2. Checkpoints: those that ``--interp-model`` names, that have a circuit file, or that the project brings in; or those
   that the claim's marker names. Each is a `Target`. One that cannot run, or was not selected, keeps the reason and is
   collected all the same, so that the run can list it.
3. Tests: one for each target, and for each head of the role where the claim asks for ``head``. The reason of a target
   becomes a skip mark, an expected failure of the circuit file a strict xfail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.checkpoints.series import specs_of
from pytest_interp.checkpoints.spec import CheckpointSpec, known_specs, resolve
from pytest_interp.circuit import Circuit
from pytest_interp.circuit_file import load_circuit
from pytest_interp.common.compat import fixture_definitions
from pytest_interp.errors import ClaimFailed, NotApplicable, UsageError, nearest
from pytest_interp.heads import Head
from pytest_interp.ledger.outcome import NO_CIRCUIT, NOT_APPLICABLE, NOT_CHECKED, NOT_QUICK, NOT_SELECTED
from pytest_interp.plugin.claim_files import check_failures
from pytest_interp.plugin.claim_marker import Claim
from pytest_interp.plugin.options import Options

if TYPE_CHECKING:
    from pytest_interp.ledger.ledger import Ledger


@dataclass(frozen=True, eq=False)
class Target:
    """A checkpoint that a claim is about.

    Attributes:
        spec: how to load the checkpoint.
        circuit: the circuit that is asserted on it; None without a circuit file.
        skip: the reason why claims do not run on it; None where they run.
        missing: the reason why its weights cannot be had; None where they can, or where nobody looked.
    """

    spec: CheckpointSpec
    circuit: Circuit | None
    skip: str | None = None
    missing: str | None = None


def _checked_specs(specs: Any) -> Sequence[CheckpointSpec]:
    """Returns what a hook of the project returned; refuses anything but a list of `CheckpointSpec`."""
    if not isinstance(specs, list | tuple) or not all(isinstance(spec, CheckpointSpec) for spec in specs):
        raise UsageError(f"pytest_interp_checkpoints returned {specs!r}; return a list of CheckpointSpec")
    return specs


class Selection:
    """The targets of a run, by folder of circuit files; one object, so that targets are identical across claims.

    Attributes:
        project_names: names of the checkpoints that the hook ``pytest_interp_checkpoints`` returned.
        known: all registered checkpoints by name, those of the project included.
        requested: the checkpoints that ``--interp-model`` names, after that of ``--interp-baseline``; empty without.
        baseline_ledger: of the baseline; None where it is a checkpoint of this run, and without one.
        baseline: the name of the checkpoint that the others are compared with; None without ``--interp-baseline``.
    """

    def __init__(self, config: pytest.Config, options: Options, baseline_ledger: Ledger | None) -> None:
        self.baseline_ledger = baseline_ledger
        self.options, self.config = options, config
        returned = config.hook.pytest_interp_checkpoints(config=config)
        project_specs = [spec for specs in returned for spec in _checked_specs(specs)]
        self.project_names = tuple(spec.name for spec in project_specs)
        self.known = known_specs(project_specs)
        if options.revision and not options.model:
            raise UsageError("--interp-revision needs --interp-model: name the model of the hub it is a revision of")
        self.requested = [spec for text in options.model for spec in specs_of(text, self.known, options.revision)]
        self.baseline = self._add_baseline() if options.baseline else None
        names = [spec.name for spec in self.requested]
        if duplicates := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two checkpoints are named {duplicates[0]!r}; rename a directory or leave one out")
        self._circuits: dict[tuple[Path, ...], dict[str, Circuit]] = {}
        self._nearest: dict[Path, tuple[Path, ...]] = {}
        self._targets: dict[tuple[Path, ...], tuple[Target, ...]] = {}
        self._extra: dict[tuple[tuple[Path, ...], str], Target] = {}

    def _add_baseline(self) -> str:
        """Adds the baseline to what is judged, unless it is a ledger; returns its name.

        Raises:
            UsageError: no checkpoint is compared with it, or its ledger has not exactly one.
        """
        text = str(self.options.baseline)
        if not self.requested:
            raise UsageError("--interp-baseline needs --interp-model: name the checkpoint that is compared with it")
        ledger = self.baseline_ledger
        if ledger is None:
            spec = resolve(text, self.known, None)
            self.requested.insert(0, spec)
            return spec.name
        names = ledger.names
        if len(names) != 1:
            raise UsageError(
                f"--interp-baseline {text}: it has {', '.join(names) or 'no checkpoint'}; "
                "a baseline is one checkpoint: run pytest with --interp-model and --interp-ledger"
            )
        return names[0]

    def circuits(self, path: Path) -> dict[str, Circuit]:
        """Returns the circuits that apply to a claims file, by name of their checkpoint."""
        return self._load(self._folders(path))

    def named(self, path: Path, names: Sequence[str]) -> list[Target]:
        """Returns the targets of a claim whose marker names its checkpoints.

        Args:
            path: of the claims file.
            names: of checkpoints, without a revision; each has a target even without a circuit file.

        Raises:
            UsageError: a name that is no registered checkpoint.
        """
        targets = [target for target in self.targets(path) if target.spec.name.partition("@")[0] in names]
        present = {target.spec.name.partition("@")[0] for target in targets}
        for name in (name for name in names if name not in present):
            if name not in self.known:
                raise UsageError(f"claim marker: {name!r} is not a registered checkpoint{nearest(name, self.known)}")
            if (self._folders(path), name) not in self._extra:
                self._extra[self._folders(path), name] = self._target(dict(self.known), name, self.circuits(path))
            targets.append(self._extra[self._folders(path), name])
        return targets

    def targets(self, path: Path) -> tuple[Target, ...]:
        """Returns a target for every checkpoint that a claims file is about, those that do not run included."""
        folders = self._folders(path)
        if folders not in self._targets:
            circuits = self._load(folders)
            names = dict.fromkeys([*(spec.name for spec in self.requested), *circuits, *self.project_names])
            by_name = {**self.known, **{spec.name: spec for spec in self.requested}}
            self._targets[folders] = tuple(self._target(by_name, name, circuits) for name in names)
        return self._targets[folders]

    def _target(self, specs: dict[str, CheckpointSpec], name: str, circuits: dict[str, Circuit]) -> Target:
        """Returns the target of a checkpoint, with the reason where claims do not run on it."""
        if name not in specs:
            raise UsageError(f"{circuits[name].path}: checkpoint {name!r} is not registered{nearest(name, specs)}")
        spec = specs[name]
        circuit_name = self.options.circuit or spec.circuit
        if circuit_name and circuit_name not in circuits:
            raise UsageError(
                f"there is no circuit file for {circuit_name!r}; there are {', '.join(circuits) or 'none'}"
                f"{nearest(circuit_name, circuits)} "
                "(looked in the nearest folder circuits/, or where the ini key interp_circuits says)"
            )
        # A revision without a circuit file of its own has that of the checkpoint; any checkpoint, that of its baseline.
        circuit = circuits.get(circuit_name or name) or circuits.get(name.partition("@")[0])
        circuit = circuit or circuits.get(str(self.baseline))
        if self.requested:
            if spec.name in {other.name for other in self.requested}:
                return Target(spec, circuit)
            return Target(spec, circuit, skip=NOT_SELECTED)
        missing = spec.missing()
        skip = f"{NOT_CHECKED}{name}: {missing}" if missing and not self.options.strict else None
        return Target(spec, circuit, skip=skip, missing=missing)

    def _folders(self, path: Path) -> tuple[Path, ...]:
        """Returns the folders with the circuit files that apply to a claims file; each folder is looked at once."""
        if path.parent not in self._nearest:
            self._nearest[path.parent] = self._folders_of(path.parent)
        return self._nearest[path.parent]

    def _folders_of(self, claims: Path) -> tuple[Path, ...]:
        """Returns the folders with the circuit files that apply to a folder of claims, as far as the rootdir."""
        if listed := self.config.getini("interp_circuits"):
            return tuple(self.config.rootpath / item for item in listed)
        for folder in (claims, *claims.parents):
            if (folder / "circuits").is_dir():
                return (folder / "circuits",)
            if folder == self.config.rootpath:
                break
        return ()

    def _load(self, folders: tuple[Path, ...]) -> dict[str, Circuit]:
        """Returns the circuits of the files in some folders, by checkpoint, read once."""
        if folders not in self._circuits:
            circuits: dict[str, Circuit] = {}
            for file in (file for folder in folders for file in sorted(folder.glob("*.toml"))):
                circuit = load_circuit(file)
                if circuit.checkpoint in circuits:
                    first = circuits[circuit.checkpoint].path
                    raise UsageError(f"{file} and {first} are both circuits of {circuit.checkpoint!r}; keep one")
                circuits[circuit.checkpoint] = circuit
            # Expected failures name claims beside the folder. With the ini key the claims may be anywhere.
            for folder in folders if not self.config.getini("interp_circuits") else ():
                check_failures(circuits.values(), folder.parent, self.config)
            self._circuits[folders] = circuits
        return self._circuits[folders]


def parametrize(metafunc: pytest.Metafunc, claim: Claim, selection: Selection) -> None:
    """Parametrises a claim by its checkpoints, and by its role's ``head`` or ``heads`` where it asks for them.

    Args:
        metafunc: pytest's function that is being collected; it asks for the fixture ``checkpoint``.
        claim: its marker.
        selection: of the run.

    Raises:
        UsageError: it asks for heads and names no role, or names a checkpoint that is not registered.
    """
    path = metafunc.definition.path
    by_head, by_role = (_asks(metafunc, name) for name in ("head", "heads"))
    if (by_head or by_role) and claim.role is None:
        raise UsageError(f"{metafunc.function.__name__} asks for head(s), but its claim marker names no role")
    circuits = selection.circuits(path)
    # A claim that asks for no heads also runs on a checkpoint whose circuit lacks the role. But a role that no circuit
    # has is misspelt, or belongs to circuits that are not here.
    unknown = bool(circuits) and not any(claim.role in circuit.sections for circuit in circuits.values())
    rows = []
    for target in selection.named(path, claim.checkpoints) if claim.checkpoints else selection.targets(path):
        rows += _rows(
            target, claim, by_head=by_head, by_role=by_role, needs_role=by_head or by_role or unknown,
            file=path.name, function=metafunc.function.__name__, quick_only=selection.options.quick,
        )  # fmt: skip
    if not rows:
        advice = "name one with --interp-model, or write a circuit file circuits/NAME.toml beside or above the claim"
        skip = pytest.mark.skip(reason=f"{NOT_CHECKED}no checkpoint: {advice}")
        rows = [pytest.param(*[None] * (1 + by_head + by_role), id="no-checkpoint", marks=skip)]
    names = ["checkpoint", *(["head"] if by_head else []), *(["heads"] if by_role else [])]
    metafunc.parametrize(names, rows, indirect=["checkpoint"], scope="session")


def _asks(metafunc: pytest.Metafunc, name: str) -> bool:
    """Returns whether a claim asks for the plugin's ``head`` or ``heads``, not for its own parameter or fixture."""
    if name not in metafunc.fixturenames:
        return False
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        if name in (names.replace(" ", "").split(",") if isinstance(names, str) else names):
            return False
    definitions = fixture_definitions(metafunc.definition).get(name, ())
    return bool(definitions) and definitions[-1].func.__module__ == "pytest_interp.plugin.fixtures"


def _rows(
    target: Target,
    claim: Claim,
    *,
    by_head: bool,
    by_role: bool,
    needs_role: bool,
    file: str,
    function: str,
    quick_only: bool,
) -> list[Any]:
    """Returns the parameter sets of a claim on one target: checkpoint, head and heads, as far as it asks for them.

    Args as in `parametrize`; ``needs_role``: the claim is not applicable where the circuit lacks its role.
    """
    name, reason = target.spec.name, target.skip
    if quick_only and not claim.quick:
        reason = NOT_QUICK
    heads: tuple[Head, ...] = ()
    if claim.role and needs_role:
        try:
            heads = _circuit_of(target).role(claim.role).heads
        except NotApplicable as error:
            reason = reason or f"{NOT_APPLICABLE}{error}"
    marks = [pytest.mark.skip(reason=reason)] if reason else []

    def row(row_id: str, head: Head | None, xfails: Sequence[Any]) -> Any:
        """One parameter set, in the order of the fixtures ``checkpoint``, ``head``, ``heads``."""
        values = [target, *([head] if by_head else []), *([heads] if by_role else [])]
        return pytest.param(*values, id=row_id, marks=[*marks, *xfails])

    if not by_head:
        return [row(name, None, _xfails(target, file, function, None))]
    if not heads:
        return [row(f"{name}-no-heads", None, ())]
    return [row(f"{name}-{head}", head, _xfails(target, file, function, head)) for head in heads]


def _circuit_of(target: Target) -> Circuit:
    """Returns the circuit of a target; without one, a claim about heads is not applicable."""
    if target.circuit is None:
        raise NotApplicable(
            f"{target.spec.name} {NO_CIRCUIT}: `pytest-interp discover` proposes one, --interp-circuit NAME asserts "
            "another checkpoint's, --interp-baseline NAME compares with the model that it was made from"
        )
    return target.circuit


def _xfails(target: Target, file: str, function: str, head: Head | None) -> Sequence[pytest.MarkDecorator]:
    """Returns a strict xfail for each failure of a claim that the circuit file expects on its own checkpoint."""
    circuit = target.circuit
    if circuit is None or circuit.checkpoint != target.spec.name:
        return ()
    return [
        pytest.mark.xfail(reason=failure.reason, strict=True, raises=ClaimFailed)
        for failure in circuit.expected_failures
        if failure.claim in (function, f"{file}::{function}")
        and (not failure.heads or head is None or head in failure.heads)
    ]
