"""Assertions about what heads and components write into the direction of the answer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions.answer import answer, layer_claim
from pytest_interp.assertions.capability import capability_caveat
from pytest_interp.assertions.controls import CONTROLS, Controls
from pytest_interp.assertions.demands import BoundArgs, Demands, SetBoundArgs, named_heads
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.assertions.subject import bias_text, place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.heads import HeadLike, names_of
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


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

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_direct_logit_attribution(experiment, ["3.0", "3.1", "3.2"], at_least=10, members_at_least=1).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import direct_logit_attribution, direct_logit_attribution_sweep

    demands = Demands.of(bound, of_set=True)
    claimed_heads = named_heads(heads, demands)
    measure = Measure.of_heads(direct_logit_attribution, direct_logit_attribution_sweep, run=run, value_bias=value_bias)
    bias = bias_text(value_bias, "removed")
    subject = f"direct logit attribution of {names_of(claimed_heads)}{bias} on {place_of(experiment, run)}"
    caveats = capability_caveat(experiment)
    return answer(Question(experiment, measure, demands, subject, claimed_heads, caveats=caveats), controls)


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

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_component_attribution(experiment, "attn_out", 3, at_least=10).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import component_attribution_sweep

    demands = Demands.of(bound)
    sweep = partial(component_attribution_sweep, run=run)
    subject = f"direct logit attribution of {site} of layer {layer} on {place_of(experiment, run)}"
    return layer_claim(experiment, sweep, (layer, site), demands, subject, controls)
