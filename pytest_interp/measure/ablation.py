"""Ablation: what is lost when an activation is replaced by one that tells nothing of the prompt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.common.context import Ablated
from pytest_interp.engine.contrast import changed_prompts, nothing_ablated, place_of
from pytest_interp.engine.metric import LOGIT_DIFF, Metric, as_metric
from pytest_interp.engine.passes import patched
from pytest_interp.engine.patch import Ablation, Node, Patch, ablated
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, HeadLike, as_heads, names_of
from pytest_interp.measure.per_prompt import defined, effect_or_reason, per_prompt
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table, heads_table
from pytest_interp.tasks.positions import END, At, text_of

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


@checked
@cached
def ablation_effect(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    ablation: Ablation = "mean",
    at: At = END,
    metric: Metric | str = LOGIT_DIFF,
    run: str = "clean",
    value_bias: ValueBias = "kept",
) -> Measurement:
    """The change of a metric when heads' outputs z are replaced, all of them in one pass: ablated minus unablated.

    Args:
        experiment: checkpoint and data set; its seed draws ``resample`` and ``permute``.
        heads: one head or several.
        ablation: ``mean`` over reference prompts of the same template and token length, position by position
            (a knockout); ``zero``; ``resample``: z of one such prompt; ``permute``: the numbers of z shuffled over
            positions and dimensions of the prompt.
        at: a named position, an index, several; None for all positions.
        metric: ``logit_diff``, ``log_prob``, ``kl`` ... or a :class:`Metric`; ``kl`` compares with the clean run
            and has nothing subtracted.
        run: ``clean`` or a corruption.
        value_bias: what ``zero`` leaves: ``kept``: what the heads' value biases write stays in the run; ``removed``:
            that goes too, so that z is zero in the raw model. For ``mean`` and ``resample`` both are equal.

    Returns:
        One value for each prompt, in the metric's unit; 0 for a head that has no effect.

    Raises:
        UsageError: an empty set of heads; a data set without a reference, or one that lacks a template; ``permute``
            with ``removed``.
        NotApplicable: z is already what the ablation puts there, on all prompts; value biases that are not known, on a
            bridge that came in compatibility mode.

    Wang et al. 2022, section 2.2 (mean ablation); Chan et al. 2022 ("Causal Scrubbing") on resampling.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(ablation_effect(experiment, ["3.0", "3.1", "3.2"]).value, 1)
        -5.0
    """
    checked = tuple(experiment.checkpoint.check_head(head) for head in as_heads(heads))
    (effect,) = _effects(experiment, [checked], ablation, at, metric, run, value_bias)
    return defined(effect)


@checked
@cached
def ablation_effect_sweep(
    experiment: Experiment,
    *,
    ablation: Ablation = "mean",
    at: At = END,
    metric: Metric | str = LOGIT_DIFF,
    layers: Collection[int] | None = None,
    value_bias: ValueBias = "kept",
) -> Table[Head]:
    """The effect of ablating each head alone, layer by head.

    Args:
        experiment: checkpoint and data set; its seed draws ``resample`` and ``permute``.
        ablation: as for :func:`ablation_effect`.
        at: a named position, an index, several; None for all positions.
        metric: ``logit_diff``, ``log_prob``, ``kl`` ... or a :class:`Metric`.
        layers: which layers; all by default.
        value_bias: as for :func:`ablation_effect`.

    Returns:
        A table of layer by head; each cell is :func:`ablation_effect`, in the metric's unit. A head whose z is already
        what the ablation puts there is undefined.

    Raises:
        UsageError: no layers; a data set without a reference, or one that lacks a template; ``permute`` with
            ``removed``.
        NotApplicable: no cell is defined; value biases that are not known.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> table = ablation_effect_sweep(experiment)
        >>> round(table["3.0"].value, 1), round(table["4.0"].value, 1)
        (-5.9, 4.0)
    """
    shape = experiment.checkpoint.shape
    chosen = range(shape.n_layers) if layers is None else list(layers)
    if not list(chosen):
        raise UsageError("no layers to sweep over; leave layers out for all")
    heads = [Head(layer, head) for layer in chosen for head in range(shape.n_heads)]
    effects = _effects(experiment, [(h,) for h in heads], ablation, at, metric, "clean", value_bias)
    return heads_table(dict(zip(heads, effects, strict=True)))


def _effects(
    experiment: Experiment,
    head_sets: Sequence[Sequence[Head]],
    ablation: Ablation,
    at: At,
    metric: Metric | str,
    run: str,
    value_bias: ValueBias,
) -> list[Measurement | str]:
    """The effect of ablating sets of heads, each on its own, or why it is undefined."""
    score = as_metric(metric)
    node_sets = [tuple(Node("z", head.layer, head.head, at) for head in heads) for heads in head_sets]
    all_nodes = [node for nodes in node_sets for node in nodes]
    source = ablated(experiment, all_nodes, ablation, seed=experiment.seed, value_bias=value_bias)
    patches = [Patch(nodes, source) for nodes in node_sets]
    prompts = changed_prompts(experiment, patches, run, score.at)
    jobs = [[patch] for patch, rows in zip(patches, prompts, strict=True) if rows]
    passes = patched(experiment, jobs, metric=score, run=run)
    values = passes.values if score.score == "kl" else passes.values - experiment.scores(score, run)
    effects: list[Measurement | str] = []
    measured = iter(values)
    for heads, nodes, rows in zip(head_sets, node_sets, prompts, strict=True):
        if not rows:
            effects.append(nothing_ablated(experiment, f"z of {names_of(heads)} {place_of(nodes)}", ablation))
            continue
        effect = per_prompt(
            experiment,
            "ablation_effect",
            next(measured),
            experiment.context(
                heads=heads,
                intervention=Ablated(ablation, None),
                metric=score.text,
                run=run,
                at=text_of(at),
                value_bias=value_bias,
                seed=experiment.seed,
                passes_from=passes.start_from,
            ),
            unit=score.unit,
            tolerance=score.noise(experiment.checkpoint.precision),
        )
        effects.append(effect_or_reason(effect, rows))
    return effects
