"""An exploration: how a model does a task, as tables, and the claims to write next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_interp.common.arguments import checked
from pytest_interp.engine.experiment import Experiment
from pytest_interp.errors import UsageError
from pytest_interp.explore.calls import Call, calls_of, source_of
from pytest_interp.explore.looks import PLANS, Look, corruption_of, noising_corruption, taken
from pytest_interp.explore.views import as_html
from pytest_interp.measure import logit_diff
from pytest_interp.measurement import quote
from pytest_interp.table import Table
from pytest_interp.tasks.dataset import DataSet
from pytest_interp.tasks.named import Task, task_of
from pytest_interp.tasks.positions import END
from pytest_interp.tasks.slots import Half
from pytest_interp.text import counted, shown
from pytest_interp.verdict.intervals import side_of_zero

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

PROMPTS = 24
"""Prompts of an exploration by default: two of each of the 12 templates of IOI."""
HALVES: tuple[Half, Half] = ("find", "confirm")


@dataclass(frozen=True)
class Exploration:
    """How a model does a task: a table for each look, and the claims to write next.

    Attributes:
        checkpoint: the name of the model.
        data: the prompts, in one line.
        task: whose prompts they are.
        corruption: the corrupted run into which the clean one was put; empty for none.
        noising: the corrupted run that was put into the clean one; empty for none.
        capable: whether the model does the task: its mean logit difference is surely above 0.
        remarks: what a reader must know before any number, a sentence each.
        looks: in order, those that were left out included.
        complete: whether every look was taken.

    Example:
        >>> from pytest_interp import explore_task, load
        >>> exploration = explore_task(load("planted-ioi"), "ioi", n=8)
        >>> [str(head) for head, _ in exploration["head_attribution"].top(3)]
        ['3.0', '3.1', '3.2']
        >>> print(exploration.claims.splitlines()[-1])
            assert_attention(ioi, "4.0", at="END", to="IO", at_least=0.5)
    """

    checkpoint: str
    data: str
    task: Task
    corruption: str
    noising: str
    capable: bool
    remarks: tuple[str, ...]
    looks: tuple[Look, ...] = ()
    complete: bool = False

    def __repr__(self) -> str:
        state = "" if self.complete else ", incomplete"
        count = f"{len(self.tables)} of {len(PLANS)} tables"
        return f"<Exploration of {self.checkpoint} on {self.task.name}: {count}{state}>"

    def __getitem__(self, name: str) -> Table[Any]:
        """The table of a look.

        Raises:
            UsageError: no look has this name, or it was left out.
        """
        if name in self.tables:
            return self.tables[name]
        known = f"pass one of {', '.join(self.tables) or 'none'}"
        reasons = [look.left_out for look in self.looks if look.name == name]
        raise UsageError(f"there is no table {shown(name)}: {reasons[0] if reasons else known}")

    @property
    def tables(self) -> Mapping[str, Table[Any]]:
        """The tables that were measured, by the name of the look."""
        return {look.name: look.table for look in self.looks if look.table is not None}

    @property
    def calls(self) -> tuple[Call, ...]:
        """The claims to write next; none before the exploration is complete, or where the model fails at the task."""
        return calls_of(self.tables, self.corruption, self.noising) if self.complete and self.capable else ()

    @property
    def claims(self) -> str:
        """The claims to write next, as the text of a test file; empty where there are none."""
        source = f"pytest-interp explore {self.checkpoint} --task {self.task.name}"
        return source_of(self.calls, self.task, source) if self.calls else ""

    def _repr_html_(self) -> str:
        """The tables for a notebook."""
        return as_html(self.title, self.remarks, self.looks, self.claims)

    @property
    def title(self) -> str:
        """The model and the prompts, in one line."""
        return f"{self.checkpoint} on {self.data}"


@checked
def explore_task(
    checkpoint: Checkpoint, task: str = "ioi", *, n: int = PROMPTS, seed: int = 0, corruption: str | None = None
) -> Exploration:
    """Looks at how a model does a task: behaviour, logit lens, attribution, patching, attention of what acts.

    It looks at the finding half of the prompts. The claims that it suggests are judged on the confirming half.

    Args:
        checkpoint: the loaded model.
        task: a name of a task, such as ``ioi`` or ``sequences``; or the path of a Python module with a function
            ``task(tokenizer, *, half, n, seed, bos)`` that returns a data set.
        n: the number of prompts, at least 2.
        seed: of the prompts, at least 0.
        corruption: the corrupted run that is patched; by default ``s2-exchanged`` where the task has it,
            else its first.

    Returns:
        The exploration, whose tables a notebook shows.

    Raises:
        UsageError: no such task or corruption, or too few prompts.
        NotApplicable: the tokenizer lacks the words of the task.

    Example:
        >>> from pytest_interp import explore_task, load
        >>> explore_task(load("planted-ioi"), "ioi", n=8)
        <Exploration of planted-ioi on ioi: 12 of 13 tables>
    """
    *_, last = explorations(checkpoint, task_of(task), n=n, seed=seed, corruption=corruption)
    return last


def explorations(
    checkpoint: Checkpoint, task: Task, *, n: int, seed: int, corruption: str | None
) -> Iterator[Exploration]:
    """An exploration as it grows, for a caller who shows or keeps each look as soon as it is there.

    Args:
        checkpoint: the loaded model.
        task: whose prompts are drawn.
        n: the number of prompts, at least 2.
        seed: of the prompts, at least 0.
        corruption: the corrupted run that is patched; None for the usual one.

    Yields:
        The exploration without a look, then with one look more each time; the last one is complete.

    Raises:
        UsageError: too few prompts, no such corruption, or a task that fails.
    """
    if n < 2:
        raise UsageError(f"an exploration of {counted(n, 'prompt')} was asked for; pass at least 2")
    if seed < 0:
        raise UsageError(f"seed is {seed}; pass 0 or more")
    data, other = (task.draw(checkpoint.tokenizer, half=half, n=n, seed=seed, bos=checkpoint.bos) for half in HALVES)
    experiment = Experiment(checkpoint, data, seed=seed)
    patched = corruption_of(data, corruption)
    capable = side_of_zero(logit_diff(experiment)) == 1
    about = repr(data)[len("<DataSet ") : -1]
    remarks = _remarks(experiment, other, capable=capable)
    exploration = Exploration(
        checkpoint.name, about, task, patched, noising_corruption(experiment, patched), capable, remarks
    )
    yield exploration
    for look in taken(experiment, patched):
        looks = (*exploration.looks, look)
        exploration = replace(exploration, looks=looks, complete=len(looks) == len(PLANS))
        yield exploration


def _remarks(experiment: Experiment, other: DataSet, *, capable: bool) -> tuple[str, ...]:
    """What a reader must know before any number: capability first.

    Args:
        experiment: on the finding half.
        other: the confirming half.
        capable: whether the model does the task.
    """
    data, remarks = experiment.data, []
    if not capable:
        remarks.append(
            f"{experiment.checkpoint.name} does not do the task: its mean logit difference is "
            f"{quote(logit_diff(experiment).value)}, not surely above 0. No number below says how it does the task"
        )
    if len(set(data.sample.clusters)) == 1:
        remarks.append("all prompts have one template: no interval can be given, and another wording may differ")
    if len(data.clean.groups) == 1:
        length = data.clean.groups[0].tokens.shape[1]
        remarks.append(f"all prompts have {length} tokens: what is said of a named position may be true of its index")
    if data.clean.position_names == (END,):
        remarks.append("the task names no position but END: pass positions= to from_strings for a table by position")
    texts = {prompt.text for prompt in data.clean.prompts}
    if shared := sum(prompt.text in texts for prompt in other.clean.prompts):
        remarks.append(
            f"{shared} of {counted(len(other.clean), 'prompt')} of the confirming half are those of the finding half: "
            "heads are then confirmed on what they were found on; let task() divide its prompts by half"
        )
    return (*remarks, *data.remarks)
