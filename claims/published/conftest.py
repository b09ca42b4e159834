"""Stimuli and figures that the published claims share, so that the claims themselves hold no tensors and no numbers.

A claim marked ``figures("logit_diff")`` runs once for each figure of that measurement in the tables, on the checkpoint
that the figure is of; its claim marker (source, evidence, finding) comes from the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from pytest_interp import UsageError

from .populations import arena, arenas, enumerated, lists, mentioned
from .stimuli import listed, random_tokens, seed_one_prompts
from .tables import Figure, figures_of


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker."""
    config.addinivalue_line(
        "markers", "figures(measurement): a claim that runs once for each published figure of this measurement"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives a claim the figures of its measurement, each on the checkpoint that it is of."""
    marker = metafunc.definition.get_closest_marker("figures")
    if marker is None:
        return
    from pytest_interp.plugin.collection_errors import refuse

    try:
        cases = [case for figure in figures_of(*marker.args) for case in _cases(metafunc, figure)]
    except UsageError as error:
        raise refuse(metafunc.config, error) from None
    metafunc.parametrize(["checkpoint", "figure"], cases, indirect=["checkpoint"], scope="session")


def _cases(metafunc: pytest.Metafunc, figure: Figure) -> list[Any]:
    from pytest_interp.ledger.outcome import NOT_QUICK
    from pytest_interp.plugin.session import session_of

    selection = session_of(metafunc.config).selection
    claim = pytest.mark.claim(
        source=figure.source, checkpoints=figure.checkpoint, evidence=figure.evidence, finding=figure.rows
    )
    cases = []
    for target in selection.named(metafunc.definition.path, [figure.checkpoint]):
        reason = NOT_QUICK if selection.options.quick else target.skip
        marks = [claim, pytest.mark.skip(reason=reason)] if reason else [claim]
        cases.append(pytest.param(target, figure, id=f"{target.spec.name}-{figure.label}", marks=marks))
    return cases


@pytest.fixture(scope="session")
def experiment(figure: Figure, experiment_on: Callable[[Mapping[str, Any]], Any]) -> Any:
    """The figure's checkpoint on the figure's prompts."""
    return experiment_on(figure.stimulus)


@pytest.fixture(scope="session")
def reference(figure: Figure, experiment_on: Callable[[Mapping[str, Any]], Any]) -> Any:
    """The figure's checkpoint on the prompts that the figure's own are compared with."""
    return experiment_on(figure.protocol["reference"])


@pytest.fixture(scope="session")
def claimed_heads(figure: Figure) -> Any:
    """The head or heads that the figure is of: an argument of its own, so that others can be tried in their place."""
    return figure.protocol["heads"]


@pytest.fixture(scope="session")
def experiment_on(
    request: pytest.FixtureRequest, checkpoint: Any, make_prompts: Callable[..., Any]
) -> Callable[[Mapping[str, Any]], Any]:
    """``experiment_on(figure.stimulus)``: the checkpoint on the prompts that a table describes."""
    from dataclasses import replace

    from pytest_interp import Experiment
    from pytest_interp.tasks import repeated_ids

    built: dict[str, Any] = {}

    def whole(stimulus: Mapping[str, Any]) -> Any:
        if name := stimulus.get("fixture"):
            value = request.getfixturevalue(name)
            return value(**stimulus["arguments"]) if "arguments" in stimulus else value
        if drawn := stimulus.get("arena") or stimulus.get("arenas"):
            prompts = arena(**drawn) if "arena" in stimulus else arenas(**drawn)
            name = f"ioi/arena seed {drawn['seed']}" if "arena" in stimulus else f"ioi/arena {drawn['seeds']} seeds"
            return listed(checkpoint, prompts, bos=stimulus["bos"], name=name, signals=stimulus.get("signals", False))
        if "enumerated" in stimulus:
            return listed(checkpoint, enumerated(**stimulus["enumerated"]), bos=stimulus["bos"], name="ioi/enumerated")
        if name := stimulus.get("mentioned"):
            return listed(checkpoint, mentioned(name), bos=stimulus["bos"], name=f"ioi/{name} mentioned")
        if drawn := stimulus.get("random"):
            return Experiment(checkpoint, repeated_ids(checkpoint.tokenizer, random_tokens(**drawn), bos=False))
        return make_prompts(
            stimulus["prompt"],
            stimulus["answer"],
            stimulus["distractor"],
            bos=stimulus["bos"],
            corrupted=stimulus.get("corrupted"),
        )

    def build(stimulus: Mapping[str, Any]) -> Any:
        key = repr(sorted((name, part) for name, part in stimulus.items() if name not in ("rows", "select")))
        if key not in built:
            built[key] = whole(stimulus)
        experiment = built[key].select(**stimulus.get("select", {}))
        rows = stimulus.get("rows")
        if rows is None:
            return experiment
        chosen = range(rows, rows + 1) if isinstance(rows, int) else range(*rows)
        return replace(experiment, data=experiment.data.rebuild(chosen))

    return build


@pytest.fixture(scope="session")
def induced(checkpoint: Any) -> Any:
    """A hundred sequences of 30 random tokens said twice up to the last, with BOS.

    NEXT is the token after END's token in the first copy, and the answer.
    """
    from pytest_interp import Experiment
    from pytest_interp.tasks import repeated_tokens

    return Experiment(
        checkpoint, repeated_tokens(checkpoint.tokenizer, length=30, n=100, seed=1, bos=True, complete=False)
    )


@pytest.fixture(scope="session")
def seed_one(checkpoint: Any) -> Any:
    """The hundred prompts of ARENA's IOI data set with seed 1, without BOS, as token ids of GPT-2: a fixed population.

    Not applicable on a checkpoint whose tokenizer has another vocabulary.
    """
    return seed_one_prompts(checkpoint)


@pytest.fixture(scope="session")
def template_gaps() -> Callable[[Any, Any], list[float]]:
    """``template_gaps(experiment, reference)``: the mean logit difference on the first minus that on the second.

    One gap for each template of the first.
    """
    from pytest_interp.measure import by_part, logit_diff

    def of(experiment: Any, reference: Any) -> list[float]:
        ours, theirs = (by_part(prompts, logit_diff(prompts), "template") for prompts in (experiment, reference))
        return [ours[template].value - theirs[template].value for template in ours]

    return of


@pytest.fixture(scope="session")
def bias_difference(checkpoint: Any) -> Callable[[str, str], list[float]]:
    """``bias_difference(" John", " Mary")``: how much the unembedding's bias prefers one word, norms folded in."""
    from pytest_interp.tasks.prompts import single_token

    def between(word: str, other: str) -> list[float]:
        bias = checkpoint.weights.b_u()
        tokens = [single_token(checkpoint.tokenizer, text) for text in (word, other)]
        return [float(bias[tokens[0]] - bias[tokens[1]])]

    return between


@pytest.fixture(scope="session")
def activation_sum() -> Callable[[Any, str], list[float]]:
    """``activation_sum(experiment, "blocks.0.attn.hook_q")``: the sum of all numbers of a kept activation."""

    def of(experiment: Any, hook: str) -> list[float]:
        by_group = experiment.activations([hook], experiment.data.clean)[hook]
        return [sum(float(activation.double().sum()) for activation in by_group)]

    return of


@pytest.fixture(scope="session")
def scale_ratios() -> Callable[[Any, str], list[float]]:
    """``scale_ratios(p8, "9.9")``: the final norm's scale before over after zeroing a head at END, by prompt.

    It is what any later head's attribution is multiplied by when the run's own scale stands for the frozen one.
    """
    from pytest_interp.heads import Head, as_head
    from pytest_interp.measure import backup_effect

    def of(experiment: Any, knocked_out: str) -> list[float]:
        watched = Head(as_head(knocked_out).layer + 1, 0)
        effect = backup_effect(experiment, watched, knocked_out=knocked_out, ablation="zero")
        pairs = zip(effect.after_live[watched].values, effect.after[watched].values, strict=True)
        return [live / frozen for live, frozen in pairs]

    return of


@pytest.fixture(scope="session")
def nodes_without(checkpoint: Any) -> Callable[[Sequence[str], Sequence[str]], dict[Any, str]]:
    """``nodes_without([], ["induction"])``: the circuit's heads, each at its position, without some of its roles.

    The first list says which heads of the circuit there are at all; empty for every one.
    """
    from pytest_interp.heads import as_head

    def rest(heads: Sequence[str], roles: Sequence[str]) -> dict[Any, str]:
        chosen = {as_head(head) for head in heads}
        return {
            head: part.at
            for name, part in checkpoint.circuit.roles.items()
            if name not in roles
            for head in part.heads
            if not chosen or head in chosen
        }

    return rest


@pytest.fixture(scope="session")
def arena_names() -> tuple[str, ...]:
    """The 109 names of ARENA's data set."""
    return tuple(lists()["names"]["arena"])


@pytest.fixture(scope="session")
def naive_circuit() -> Sequence[str]:
    """The heads of the authors' naive circuit, as the table of GPT-2 small has them."""
    return next(figure.protocol["circuit"] for figure in figures_of("faithfulness") if "circuit" in figure.protocol)
