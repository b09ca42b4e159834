"""The assertion about what the unembedding reads in the residual stream before the last layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, Unpack

from pytest_interp.assertions.answer import layer_claim
from pytest_interp.assertions.controls import Controls
from pytest_interp.assertions.demands import BoundArgs, Demands
from pytest_interp.assertions.subject import place_of
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.verdict.judge import Verdict

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.metric import Metric


@checked
@in_one_state
def assert_logit_lens(
    experiment: Experiment,
    layer: int,
    *,
    site: Literal["resid_pre", "resid_mid", "resid_post"] = "resid_post",
    metric: Metric | str = "logit_diff",
    norm: Literal["live", "frozen"] = "live",
    run: str = "clean",
    controls: Controls = 0,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts what the unembedding reads in the residual stream at END at a layer.

    The layers before and after are shown beside it.

    Args:
        experiment: checkpoint and data set.
        layer: from 0.
        site: ``resid_pre``, ``resid_mid`` or ``resid_post`` of that layer.
        metric: ``logit_diff`` or another score of the answer.
        norm: ``live`` (each residual's own scale) or ``frozen`` (the finished run's).
        run: ``clean`` or a corruption.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: in the metric's unit.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> assert_logit_lens(experiment, 3, at_least=8).outcome
        'supported'
    """
    __tracebackhide__ = True
    from pytest_interp.measure import logit_lens_sweep

    demands = Demands.of(bound)
    sweep = partial(logit_lens_sweep, sites=(site,), metric=metric, norm=norm, run=run)
    subject = f"logit lens at {site} of layer {layer} ({norm} norm) on {place_of(experiment, run)}"
    return layer_claim(experiment, sweep, (layer, site), demands, subject, controls)
