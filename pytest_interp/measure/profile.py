"""The profile of a checkpoint: role scores and patching effects of all heads, what its circuit alone does.

Each number is one that other files of this room measure; here they are put together for a comparison of checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.circuit import Circuit, Role
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head
from pytest_interp.ledger.profile import Profile, PromptDraw, RoleScores
from pytest_interp.measure.attention import attention_sweep
from pytest_interp.measure.circuit import faithfulness
from pytest_interp.measure.copying import copy_score_sweep
from pytest_interp.measure.logit_diff import accuracy, logit_diff
from pytest_interp.measure.patching import patch_effect_sweep

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment
    from pytest_interp.tasks.dataset import DataSet
    from pytest_interp.tasks.prompts import Group

LEAST_SCORE = 0.1
"""No head with a lower role score has a role, unless the circuit file bounds attention lower."""
SHARE_OF_WEAKEST = 0.5
"""The bound of a role where the circuit file has none, as a share of the score of the weakest of its heads."""
DECIMALS = 6
"""Of a role score in the ledger, which has one for each head and role."""
OTHER_SEED = 1_000
"""The distance between the seeds of two draws of prompts."""


@in_one_state
def profile_of(experiment: Experiment, circuit: Circuit, *, names: Sequence[str], floor: bool) -> Profile:
    """Returns the profile of a checkpoint on the task of a circuit.

    Args:
        experiment: checkpoint and data set.
        circuit: whose roles are scored, and whose faithfulness is measured.
        names: for copy scores; one token each.
        floor: whether it is measured on a second draw of prompts too.

    Returns:
        The profile, with one draw or two; roles that read no named position of the data set are left out.
    """
    draws = [_draw(experiment, circuit, names)]
    redraw = experiment.data.redraw
    if floor and redraw is not None:
        other = replace(experiment, data=_other_prompts(experiment.data, redraw))
        draws.append(_draw(other, circuit, names))
    return Profile(tuple(draws))


def _other_prompts(data: DataSet, redraw: Callable[..., DataSet]) -> DataSet:
    """Prompts of the same task that a data set does not have."""
    other = redraw(seed=(data.seed or 0) + OTHER_SEED)
    known = {prompt.text for prompt in data.clean.prompts}
    rows = [row for row, prompt in enumerate(other.clean.prompts) if prompt.text not in known]
    return other if len(rows) == len(other.clean) else other.rebuild(rows)


def _draw(experiment: Experiment, circuit: Circuit, names: Sequence[str]) -> PromptDraw:
    """The numbers on one draw of prompts."""
    left_out: list[str] = []
    alone: tuple[float, ...] = ()
    try:
        alone = faithfulness(experiment, circuit).values
    except NotApplicable as error:
        left_out.append(f"faithfulness: {error}")
    effects = dict.fromkeys(map(str, experiment.checkpoint.shape.heads), 0.0)
    try:
        table = patch_effect_sweep(experiment, "z", at="END", metric="logit_diff")
        # Float noise has ranks too: without this, Spearman is lower the more heads do nothing.
        effects |= {str(head): cell.value for head, cell in table.items() if abs(cell.value) > cell.tolerance}
    except NotApplicable as error:
        left_out.append(f"patching effects: {error}")
    roles = []
    positions = experiment.data.clean.position_names
    for role in circuit.roles.values():
        if {role.at, role.reads} <= set(positions):
            roles.append(_scores(experiment, role, names))
        else:
            left_out.append(f"role {role.name}: the circuit file names no position that it reads")
    return PromptDraw(
        experiment.data_identity.prompts,
        experiment.data.sample,
        logit_diff(experiment).values,
        accuracy(experiment).values,
        alone,
        tuple(roles),
        effects,
        tuple(left_out),
    )


def _scores(experiment: Experiment, role: Role, names: Sequence[str]) -> RoleScores:
    """The role score of every head."""
    others = _other_name(experiment, role.reads)
    read = attention_sweep(experiment, at=role.at, to=role.reads, minus=others)
    factors: dict[Head, float] = dict.fromkeys(read, 1.0)
    rule = f"{role.at} reads {role.reads}" + (f", less {' and '.join(others)}" if others else "")
    if role.writes == role.reads:
        rule += f"; times {'negative ' if role.sign < 0 else ''}copy score"
        try:
            copied = copy_score_sweep(experiment.checkpoint, names=names, negative=role.sign < 0)
            factors = {head: copied[head].value if head in copied else 0.0 for head in read}
        except NotApplicable:  # no head writes anything into the unembedding
            factors = dict.fromkeys(read, 0.0)
    means = {str(head): round(factors[head] * cell.value, DECIMALS) for head, cell in read.items()}
    weakest = min(means[str(head)] for head in role.heads)
    bound = float(role.bound("attention", None).get("at_least", max(LEAST_SCORE, SHARE_OF_WEAKEST * weakest)))
    written = {head for head in read if head in role.heads or means[str(head)] >= min(bound, LEAST_SCORE)}
    values = {
        str(head): tuple(round(factors[head] * value, DECIMALS) for value in read[head].values)
        for head in sorted(written)
    }
    return RoleScores(role.name, rule, tuple(map(str, role.heads)), bound, means, values)


def _other_name(experiment: Experiment, position: str) -> tuple[str, ...]:
    """The positions of the distractor where a position has the answer, of the answer where it has the distractor."""
    tokens: dict[str, set[str]] = {"answers": set(), "distractors": set()}
    for kind, holding in tokens.items():
        for name in experiment.data.clean.position_names:
            if all(_holds(group, name, getattr(group, kind)) for group in experiment.data.clean.groups):
                holding.add(name)
    for kind, other in (("answers", "distractors"), ("distractors", "answers")):
        if position in tokens[kind]:
            return tuple(name for name in experiment.data.clean.position_names if name in tokens[other])
    return ()


def _holds(group: Group, name: str, tokens: Tensor) -> bool:
    """Whether each prompt of a group has its token at a named position."""
    rows = range(len(group.rows))
    return bool((group.tokens[rows, group.positions[name]] == tokens).all())
