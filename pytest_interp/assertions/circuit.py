"""Assertions about a circuit as a whole: faithful, complete, minimal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions.answer import answer, conclude
from pytest_interp.assertions.capability import require_capability
from pytest_interp.assertions.controls import CONTROLS, Controls, control, counts_of
from pytest_interp.assertions.demands import BoundArgs, Demands, SetBoundArgs
from pytest_interp.assertions.evidence import with_evidence
from pytest_interp.assertions.members import HeadSet
from pytest_interp.assertions.other_tasks import Knockout
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import HeadLike, as_heads, names_of, optional_heads
from pytest_interp.text import counted
from pytest_interp.verdict.caveats import disagreement
from pytest_interp.verdict.judge import Verdict, judge
from pytest_interp.verdict.recording import in_trial

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.heads import Head
    from pytest_interp.measure.circuit import CircuitLike
    from pytest_interp.measurement import Measurement
    from pytest_interp.tasks.positions import At

MANY = 8
"""The largest circuit whose members are measured on all prompts; those of a larger one are on a quarter of them."""


@checked
@in_one_state
def assert_faithfulness(
    experiment: Experiment,
    circuit: CircuitLike | None = None,
    *,
    metric: Literal["of_model", "logit_diff"] = "of_model",
    controls: Controls = CONTROLS,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts what a circuit alone keeps of the task, with all other heads mean-ablated at all positions.

    Random circuits of as many heads, kept at the same positions, are measured beside it. The verdict says what each
    head adds: what is kept with it alone, and how much less the circuit keeps without it; in a circuit of more than 8
    heads on a quarter of the prompts.

    Args:
        experiment: checkpoint and data set.
        circuit: a circuit, heads with positions, or heads; by default the checkpoint's circuit.
        metric: ``of_model`` (1: all of it) or ``logit_diff``.
        controls: how many random circuits, or of each kind: ``{"same_layer": 3, "random_model": 1}``, where the
            random circuits count as heads of the same layers. ``{"other_task": 1}``: the share of the logit difference
            that is lost on another task without the heads of the circuit, mean-ablated at all positions.
        **bound: in the unit of the metric; ``members_at_least=`` and ``members_at_most=`` bound what each head keeps,
            in logits.

    Raises:
        NotApplicable: the model does not do the task; there is no circuit, or nothing outside of it to ablate.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> circuit = ["0.0", "0.1", "1.0", "2.0", "2.1", "3.0", "3.1", "3.2"]  # without the negative name mover
        >>> assert_faithfulness(experiment, circuit, near=(1.45, 0.1)).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import faithfulness, knockout_cost
    from pytest_interp.measure.circuit import kept_effect, nodes_of, random_circuits

    demands = Demands.of(bound, of_set=True)
    require_capability(experiment)
    nodes = nodes_of(experiment, _circuit(experiment, circuit))
    verdict = judge(faithfulness(experiment, nodes, metric=metric), demands.bound)
    counts = counts_of(controls, experiment.checkpoint)
    count = 0 if in_trial() else counts.get("same_layer", 0)
    checks = tuple(
        control(
            f"random circuit {i + 1}", partial(faithfulness, experiment, drawn, metric=metric), "random_circuit",
            verdict.measurement, demands.bound,
        )
        for i, drawn in enumerate(random_circuits(experiment, nodes, count))
    )  # fmt: skip

    sample = experiment if len(nodes) <= MANY else _thinned(experiment)
    if metric == "of_model" and not in_trial():
        verdict = replace(verdict, notes=(*verdict.notes, *_other_ablation(experiment, nodes, verdict.measurement)))

    if count and not checks:
        verdict = replace(verdict, notes=(*verdict.notes, "no control: too few heads are left for a random circuit"))
    subject = f"faithfulness of a circuit of {counted(len(nodes), 'head')} on {place_of(experiment)}"
    measure = Measure.of_model(faithfulness, nodes, metric=metric)
    sets = (HeadSet(tuple(nodes), partial(kept_effect, sample, nodes)),)
    knockout = Knockout(lambda on, at: knockout_cost(on, tuple(nodes), at=at))
    question = Question(experiment, measure, demands, subject, sets=sets, knockout=knockout)
    return conclude(with_evidence(replace(verdict, controls=checks), question, controls), subject)


def _other_ablation(experiment: Experiment, nodes: Mapping[Head, At], mean: Measurement) -> Iterator[str]:
    """What to say where the circuit keeps another share with z of a corrupted run outside of it than with the mean."""
    from pytest_interp.measure.places import breaking_corruption, places_of, resampled_faithfulness

    corruption, places = breaking_corruption(experiment), places_of(nodes)
    if corruption is None or places is None or len(mean.values) < len(experiment.data.clean):
        return
    resampled = resampled_faithfulness(experiment, places, corruption)
    if sentence := disagreement(mean, resampled, corruption):
        yield sentence


@checked
@in_one_state
def assert_completeness(
    experiment: Experiment,
    circuit: CircuitLike | None = None,
    *,
    knocked_out: HeadLike | Iterable[HeadLike] = (),
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts how differently circuit and model react to the loss of the heads K: F(C without K) - F(M without K).

    Args:
        experiment: checkpoint and data set.
        circuit: a circuit, heads with positions, or heads; by default the checkpoint's circuit.
        knocked_out: K; empty compares the whole circuit with the whole model.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: in logits; around 0 for a complete circuit.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> circuit = ["0.0", "0.1", "1.0", "2.0", "2.1", "3.0", "3.1", "3.2"]  # without the negative name mover
        >>> assert_completeness(experiment, circuit, near=(4, 0.5)).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import ablation_effect, completeness

    demands = Demands.of(bound)
    require_capability(experiment)
    knocked_heads = optional_heads(knocked_out)
    without_text = f" without {names_of(knocked_heads)}" if knocked_heads else ""
    subject = f"circuit minus model{without_text} on {place_of(experiment)}"
    circuit_heads = _circuit(experiment, circuit)
    measure = Measure.of_model(completeness, circuit_heads, knocked_out=knocked_heads)
    sets = (HeadSet(knocked_heads, partial(ablation_effect, experiment, at=None), "K"),)
    return answer(Question(experiment, measure, demands, subject, sets=sets), controls)


@checked
@in_one_state
def assert_minimality(
    experiment: Experiment,
    head: HeadLike,
    circuit: CircuitLike | None = None,
    *,
    knocked_out: HeadLike | Iterable[HeadLike] = (),
    metric: Literal["logit_diff", "of_model"] = "logit_diff",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts what a head adds to a circuit from which K is taken: F(C without K) - F(C without K and head).

    Args:
        experiment: checkpoint and data set.
        head: the head that is tested.
        circuit: a circuit, heads with positions, or heads; by default the checkpoint's circuit.
        knocked_out: K, other heads of the circuit, such as those that stand in for it.
        metric: ``logit_diff`` or ``of_model``.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: in the unit of the metric.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> circuit = ["0.0", "0.1", "1.0", "2.0", "2.1", "3.0", "3.1", "3.2"]  # without the negative name mover
        >>> assert_minimality(experiment, "3.0", circuit, at_least=0.1).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import minimality

    demands = Demands.of(bound)
    require_capability(experiment)
    knocked_heads = optional_heads(knocked_out)
    circuit_heads = _circuit(experiment, circuit)
    measure = Measure.of_model(minimality, head, circuit_heads, knocked_out=knocked_heads, metric=metric)
    without_text = f" without {names_of(knocked_heads)}" if knocked_heads else ""
    subject = f"what {names_of(as_heads(head))} adds to the circuit{without_text} on {place_of(experiment)}"
    return answer(Question(experiment, measure, demands, subject), controls)


def _thinned(experiment: Experiment) -> Experiment:
    """The experiment on a quarter of its prompts, as many of each template.

    Two passes for each head are many in a large circuit.
    """
    prompts = experiment.data.clean.prompts
    seen: Counter[str] = Counter()
    rows = []
    for row, prompt in enumerate(prompts):
        seen[prompt.template] += 1
        if seen[prompt.template] <= max(1, len(prompts) // 4 // len({p.template for p in prompts})):
            rows.append(row)
    return replace(experiment, data=experiment.data.rebuild(rows))


def _circuit(experiment: Experiment, circuit: CircuitLike | None) -> CircuitLike:
    """The circuit that was passed, else the checkpoint's own.

    Raises:
        NotApplicable: none was passed, and the checkpoint has no circuit file.
    """
    if circuit is not None:
        return circuit
    if experiment.circuit is None:
        raise NotApplicable(f"{experiment.checkpoint.name} has no circuit file; pass the circuit's heads")
    return experiment.circuit
