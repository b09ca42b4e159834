"""The looks of an exploration: what each measures, in the order in which they are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from pytest_interp import measure
from pytest_interp.engine.experiment import Experiment
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head
from pytest_interp.measure.patching import named_positions
from pytest_interp.measurement import Measurement
from pytest_interp.table import Cell, Table
from pytest_interp.tasks.dataset import DataSet
from pytest_interp.tasks.positions import END
from pytest_interp.verdict.intervals import side_of_zero

Layout: TypeAlias = Literal["grid", "list", "ranking"]
"""How a table is shown: rows by columns, every cell with its interval, or the largest cells with their intervals."""

TOP_HEADS = 10
"""Heads with positions, of each of two tables, whose attention is looked at."""
DIVIDED_HEADS = 20
"""Needed heads whose effect is divided by position."""
PARTS = ("order", "kind", "template")
"""Tags of prompts by which behaviour is divided, where a task has them."""
ALL = "all prompts"
LEAST_SHARE = 0.02
"""The share of a table's largest cell up to which a cell is not worth a second look."""


@dataclass(frozen=True)
class Look:
    """One look: a table of measurements, or why there is none.

    Attributes:
        name: of its files, such as ``head_patching``.
        question: that it answers, in one line.
        layout: how its table is shown.
        table: the measurements; None where it was left out.
        left_out: why there is no table.
    """

    name: str
    question: str
    layout: Layout
    table: Table[Any] | None = field(repr=False)
    left_out: str = ""


@dataclass(frozen=True)
class Scope:
    """What all looks of an exploration share.

    Attributes:
        experiment: checkpoint and prompts.
        corruption: the corrupted run that is patched; empty where the task has none.
        tables: of the looks that were taken before, by name.
    """

    experiment: Experiment
    corruption: str
    tables: Mapping[str, Table[Any]]

    @property
    def columns(self) -> Sequence[str | int]:
        """The positions of a sweep: the named ones; every index where none but END has a name and one length is."""
        names = self.experiment.data.clean.position_names
        return (
            names if len(names) > 1 or len(self.experiment.data.clean.groups) > 1 else named_positions(self.experiment)
        )


class Plan(NamedTuple):
    """A look before it is taken."""

    name: str
    question: str
    layout: Layout
    measure: Callable[[Scope], Table[Any]]
    compares_runs: bool = False


def corruption_of(data: DataSet, name: str | None) -> str:
    """The corrupted run that an exploration patches.

    Args:
        data: the prompts.
        name: of the corruption; None for ``s2-exchanged`` where the task has it, else the first one.

    Returns:
        Its name; empty where the task has none.

    Raises:
        UsageError: no such corruption.
    """
    if name is not None:
        data.run(name)
        return name
    return "s2-exchanged" if "s2-exchanged" in data.corrupted else next(iter(data.corrupted), "")


def taken(experiment: Experiment, corruption: str) -> Iterator[Look]:
    """Takes the looks one after the other; each is measured when it is asked for.

    Args:
        experiment: checkpoint and prompts.
        corruption: the corrupted run that is patched; empty for none.

    Yields:
        Each look; one that cannot be measured says why.
    """
    tables: dict[str, Table[Any]] = {}
    for plan in PLANS:
        table, left_out = None, ""
        if plan.compares_runs and not corruption:
            left_out = "the task has no corruption, and patching compares two runs: pass corrupted= to from_strings"
        else:
            try:
                table = tables[plan.name] = plan.measure(Scope(experiment, corruption, tables))
            except (NotApplicable, UsageError) as error:
                left_out = str(error)
        yield Look(plan.name, plan.question, plan.layout, table, left_out)


def strongest(table: Table[Any], count: int) -> list[Any]:
    """The cells of a table that are furthest from 0: their intervals do not contain it, and they are no crumbs.

    Args:
        table: a sweep.
        count: how many cells at most.

    Returns:
        The cells, the largest first.
    """
    cells = table.top(len(table), most="absolute")
    least = LEAST_SHARE * abs(cells[0][1].value)
    return [cell for cell, effect in cells if side_of_zero(effect) and abs(effect.value) >= least][:count]


def acting_heads(tables: Mapping[str, Table[Any]]) -> list[tuple[Head, str | int]]:
    """The heads that do most, each with the position at which it does it.

    Args:
        tables: of the looks that were taken, by name.

    Returns:
        Heads with positions: by what they restore, then by what is lost without them; where nothing was patched, by
        what they write at END.
    """
    patched = [tables[name] for name in ("heads_by_position", "needed_by_position") if name in tables]
    if not patched and "head_attribution" in tables:
        return [(head, END) for head in strongest(tables["head_attribution"], TOP_HEADS)]
    return list(dict.fromkeys(cell for table in patched for cell in strongest(table, TOP_HEADS)))


def noising_corruption(experiment: Experiment, corruption: str) -> str:
    """The corrupted run that is put into the clean one: one without an answer, where the task has it.

    Under an exchange of two names what came before is equal in both runs, so that no early head could show.

    Args:
        experiment: checkpoint and prompts.
        corruption: the run into which the clean one is put.

    Returns:
        ``abc`` where the task has it, else the same corruption.
    """
    return "abc" if "abc" in experiment.data.corrupted else corruption


def _by_part(experiment: Experiment, measurement: Measurement, parts: Sequence[str] = PARTS) -> Table[Any]:
    """A measurement on all prompts, and on the prompts of each order, kind and template."""
    cells: dict[Cell, Measurement] = {(ALL, measurement.quantity): measurement}
    prompts = experiment.data.clean.prompts
    for part in parts:
        values = list(dict.fromkeys(p.template if part == "template" else p.tags.get(part, "") for p in prompts))
        if "" in values or len(values) == len(prompts) > 1:  # not divided, or each prompt for itself
            continue
        for (value, quantity), effect in measure.by_part(experiment, measurement, part).items():
            number = f" {values.index(value) + 1}:" if part == "template" else ""
            cells[f"{part}{number} {value}", quantity] = effect
    return Table(cells, ("part", "quantity"))


def _runs(scope: Scope) -> Table[Any]:
    """The logit difference of the clean run and of each corrupted one."""
    experiment = scope.experiment
    runs = ("clean", *experiment.data.corrupted)
    return Table({(run, "logit_diff"): measure.logit_diff(experiment, run=run) for run in runs}, ("run", "quantity"))


def _patched(site: Any) -> Callable[[Scope], Table[Any]]:
    """A function that measures the patching effect of a site at every position."""
    return lambda scope: measure.patch_effect_sweep(
        scope.experiment, site, positions=scope.columns, corruption=scope.corruption
    )


def _needed(scope: Scope) -> Table[Any]:
    """What is lost when a head writes at every position what it writes in a corrupted run."""
    corruption = noising_corruption(scope.experiment, scope.corruption)
    return measure.patch_effect_sweep(
        scope.experiment, "z", direction="noise", metric="logit_diff", corruption=corruption
    )


def _needed_by_position(scope: Scope) -> Table[Any]:
    """The same at each position, of the heads that are needed most: a sweep of all heads would take much longer."""
    if "heads_needed" not in scope.tables:
        raise NotApplicable("no head is known to be needed")
    corruption = noising_corruption(scope.experiment, scope.corruption)
    effects: dict[Any, Measurement | str] = {}
    for head in sorted(strongest(scope.tables["heads_needed"], DIVIDED_HEADS)):
        for at in scope.columns:
            try:
                effects[head, at] = measure.head_patch_effect(
                    scope.experiment, head, at=at, direction="noise", metric="logit_diff", corruption=corruption
                )
            except NotApplicable as error:
                effects[head, at] = str(error)
    if not effects:
        raise NotApplicable("no head has an effect whose interval lies beside 0")
    return Table.of(effects, ("head", "position"))


def _attention(scope: Scope) -> Table[Any]:
    """The attention of the heads that do most, from the position at which they act to every named position."""
    experiment, names = scope.experiment, scope.experiment.data.clean.position_names
    heads = [(head, at) for head, at in acting_heads(scope.tables) if at in names]
    if len(names) < 2:
        raise NotApplicable(f"{experiment.data.name} names no position but END: pass positions= to from_strings")
    if not heads:
        raise NotApplicable("no head has an effect whose interval lies beside 0")
    return Table(
        {
            (f"{head} at {at}", to): measure.attention(experiment, head, at=str(at), to=to)
            for head, at in heads
            for to in names
        },
        ("head", "attends to"),
    )


PLANS = (
    Plan(
        "behaviour",
        "Does the model do the task, in each wording? logit(answer) - logit(distractor)",
        "list",
        lambda scope: _by_part(scope.experiment, measure.logit_diff(scope.experiment)),
    ),
    Plan(
        "accuracy",
        "How often is the answer above the distractor?",
        "list",
        lambda scope: _by_part(scope.experiment, measure.accuracy(scope.experiment), PARTS[:-1]),
    ),
    Plan("runs", "What does each corruption do to the logit difference?", "list", _runs),
    Plan(
        "logit_lens",
        "At which layer is the answer there? The unembedding of the residual stream",
        "grid",
        lambda scope: measure.logit_lens_sweep(scope.experiment, sites=("resid_mid", "resid_post")),
    ),
    Plan(
        "components",
        "What writes the answer at END? Direct logit attribution of each component",
        "ranking",
        lambda scope: measure.component_attribution_sweep(scope.experiment),
    ),
    Plan(
        "head_attribution",
        "Which heads write the answer at END? Direct logit attribution of each head",
        "ranking",
        lambda scope: measure.direct_logit_attribution_sweep(scope.experiment),
    ),
    Plan(
        "residual_patching",
        "Where does the answer stand? resid_pre, clean into corrupted",
        "grid",
        _patched("resid_pre"),
        compares_runs=True,
    ),
    Plan(
        "attention_patching",
        "Which attention layers move it? attn_out, clean into corrupted",
        "ranking",
        _patched("attn_out"),
        compares_runs=True,
    ),
    Plan(
        "mlp_patching",
        "Which MLPs change it? mlp_out, clean into corrupted",
        "ranking",
        _patched("mlp_out"),
        compares_runs=True,
    ),
    Plan(
        "heads_by_position",
        "Which heads restore it, and at which position? z, clean into corrupted",
        "ranking",
        _patched("z"),
        compares_runs=True,
    ),
    Plan(
        "heads_needed",
        "Without which heads is it lost? z at all positions, corrupted into clean",
        "ranking",
        _needed,
        compares_runs=True,
    ),
    Plan(
        "needed_by_position",
        "At which position is each of them needed? z, corrupted into clean",
        "ranking",
        _needed_by_position,
        compares_runs=True,
    ),
    Plan("attention", "Where do these heads look? Attention from the position at which each acts", "grid", _attention),
)
"""All looks, in order."""
