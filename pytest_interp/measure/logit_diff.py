"""How well a model does a two-way task: logit difference and share of prompts right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.common.context import Ablated
from pytest_interp.engine.patch import Ablation
from pytest_interp.errors import UsageError
from pytest_interp.heads import HeadLike, optional_heads
from pytest_interp.measure.backup import ablated_pass
from pytest_interp.measure.per_prompt import on_prompts, per_prompt
from pytest_interp.measurement import Measurement
from pytest_interp.text import shown

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment


@checked
@cached
def logit_diff(
    experiment: Experiment,
    *,
    run: str = "clean",
    knocked_out: HeadLike | Iterable[HeadLike] = (),
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
) -> Measurement:
    """The logit difference: logit(answer) - logit(distractor) at END, per prompt first, mean last.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption; always scored with the clean run's answers.
        knocked_out: heads that are knocked out at END in the clean run; none by default.
        ablation: ``mean`` over ABC prompts of the same template, or ``zero``.
        value_bias: what ``zero`` leaves: ``kept``: what the heads' value biases write stays in the run; ``removed``:
            that goes too, so that z is zero in the raw model. For ``mean`` and ``resample`` both are equal.

    Returns:
        One value for each prompt, in logits; any real number, 0 where the model does not distinguish.

    Raises:
        UsageError: an unknown run, head or ablation; heads that are knocked out in another run than the clean one.
        NotApplicable: the knock-out takes nothing away on any prompt.

    Wang et al. 2022, section 2.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(logit_diff(experiment).value, 2)
        8.85
        >>> round(logit_diff(experiment, run="s2-exchanged").value, 2)
        -8.85
    """
    if ablated_heads := optional_heads(knocked_out):
        if run != "clean":
            raise UsageError(f"heads are knocked out in the clean run only; run is {shown(run)}")
        heads = [experiment.checkpoint.check_head(head) for head in ablated_heads]
        knockout = ablated_pass(experiment, heads, ablation, value_bias=value_bias)
        context = experiment.context(
            heads=None, intervention=Ablated(ablation, tuple(heads)), metric=None, run=run, value_bias=value_bias
        )
        return on_prompts(per_prompt(experiment, "logit_diff", knockout.logit_diffs, context), knockout.prompts)
    context = experiment.context(heads=None, intervention=None, metric=None, run=run)
    return per_prompt(experiment, "logit_diff", experiment.logit_diffs(run), context)


@checked
@cached
def accuracy(experiment: Experiment, *, run: str = "clean") -> Measurement:
    """The share of prompts on which the answer's logit is above the distractor's at END; a tie is wrong.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption; always scored with the clean run's answers.

    Returns:
        0 or 1 for each prompt; the mean is in [0, 1]. The tolerance counts the prompts that float noise could flip.

    Raises:
        UsageError: an unknown run.

    Wang et al. 2022, section 2 ("IO is predicted over S").

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> accuracy(experiment).value
        1.0
    """
    difference = experiment.logit_diffs(run)
    close = float((difference.abs() <= experiment.noise).float().mean())
    context = experiment.context(heads=None, intervention=None, metric=None, run=run)
    return per_prompt(experiment, "accuracy", (difference > 0).float(), context, unit="share", tolerance=close + 1e-9)
