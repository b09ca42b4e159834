"""Assertions about what heads and components write into the direction of the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Unpack

from pytest_interp.assertions.question import (
    CONTROLS,
    BoundArgs,
    Controls,
    Demands,
    Question,
    SetBoundArgs,
    answer,
    bias_text,
    capability_caveat,
    layer_claim,
    named_heads,
    where,
)
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import Head, HeadLike, names_of
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment
    from pytest_interp.table import Table


@checked
@in_one_state
def assert_direct_logit_attribution(
    experiment: Experiment,
    heads: HeadLike | Iterable[HeadLike],
    *,
    run: str = "clean",
    value_bias: ValueBias = "removed",
    controls: Controls = CONTROLS,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts what heads write into the answer's direction at END, summed over the heads.

    Attribution alone does not make a name mover: look at where the head reads and at its copy score too.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several.
        run: ``clean`` or a corruption.
        value_bias: whether what their value biases write counts as theirs (``kept``) or not (``removed``).
        controls: how many random heads of the same layers to measure beside it, or how many of each kind.
        **bound: in logits; ``members_at_least=`` and ``members_at_most=`` bound each of several heads.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import direct_logit_attribution, direct_logit_attribution_sweep

    demands = Demands.of(bound, of_set=True)
    named = named_heads(heads, demands)

    def measure(on: Experiment, some: tuple[Head, ...]) -> Measurement:
        return direct_logit_attribution(on, some, run=run, value_bias=value_bias)

    def everywhere(on: Experiment) -> Table[Head]:
        return direct_logit_attribution_sweep(on, run=run, value_bias=value_bias)

    subject = f"direct logit attribution of {names_of(named)}{bias_text(value_bias, 'removed')} on {where(experiment)}"
    caveats = capability_caveat(experiment)
    question = Question(experiment, measure, demands, subject, named, everywhere=everywhere, caveats=caveats)
    return answer(question, controls)


@checked
@in_one_state
def assert_component_attribution(
    experiment: Experiment,
    site: Literal["attn_out", "mlp_out", "embed", "pos_embed"],
    layer: int | Literal["start"],
    *,
    run: str = "clean",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts what a layer's attention or MLP, or an embedding, writes into the answer's direction at END.

    The same component of the layers before and after is shown beside it.

    Args:
        experiment: checkpoint and data set.
        site: ``attn_out``, ``mlp_out``; ``embed``, ``pos_embed`` at the start.
        layer: from 0, or ``start`` for the embeddings.
        run: ``clean`` or a corruption.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: in logits.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import component_attribution_sweep

    demands = Demands.of(bound)

    def sweep(on: Experiment) -> Table[Any]:
        return component_attribution_sweep(on, run=run)

    subject = f"direct logit attribution of {site} of layer {layer} on {where(experiment)}"
    return layer_claim(experiment, sweep, (layer, site), demands, subject, controls)
