"""Activation patching: one run's activation put into the other run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pytest_interp.cache.store import cached
from pytest_interp.common.arguments import checked
from pytest_interp.common.context import Exchanged
from pytest_interp.engine.contrast import changed_prompts, no_change, require_contrast
from pytest_interp.engine.metric import LOGIT_DIFF, Metric, as_metric
from pytest_interp.engine.passes import patched
from pytest_interp.engine.patch import HEAD_SITES, LAYER_SITES, Patch, from_run
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, HeadLike, KVHead
from pytest_interp.measure.patch_cells import PatchCell, cell_text, check_site, heads_cell, layer_cell
from pytest_interp.measure.per_prompt import defined, effect_or_reason, per_prompt, ratio_noise
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table, heads_table
from pytest_interp.tasks.positions import At, text_of
from pytest_interp.text import shown

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

Activation: TypeAlias = Literal["z", "q", "k", "v", "pattern"]
Stream: TypeAlias = Literal["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"]
Direction: TypeAlias = Literal["denoise", "noise"]


@checked
@cached
def head_patch_effect(
    experiment: Experiment,
    heads: HeadLike | KVHead | Iterable[HeadLike],
    *,
    site: Activation = "z",
    at: At = None,
    direction: Direction = "denoise",
    corruption: str | None = None,
    metric: Metric | str = "recovered",
) -> Measurement:
    """The effect of exchanging an activation of heads between the clean and the corrupted run.

    ``recovered = (mean patched - mean corrupted) / (mean clean - mean corrupted)`` of the logit difference: 0 is
    the corrupted run, 1 the clean one. Any other metric is given as its change: patched minus the run that is
    patched (``kl``, which compares with the clean run: of the patched run itself). Several heads are exchanged in
    one pass, not one after the other.

    Args:
        experiment: checkpoint and data set.
        heads: one head or several. Where query heads share key-value heads, ``k`` and ``v`` of the shared head
            are exchanged, for all that read it; a ``KVHead`` names it directly.
        site: ``z`` (before the output weights), ``q``, ``k``, ``v`` (before rotation) or ``pattern``.
        at: a named position (for ``pattern``: the destination), an index, several; None for all positions.
        direction: ``denoise`` puts clean into corrupted, ``noise`` the reverse.
        corruption: the corrupted run; by default the data set's only one, and ``s2-exchanged`` where it has several.
        metric: ``recovered``, ``logit_diff``, ``log_prob``, ``kl`` ... or a :class:`Metric`.

    Returns:
        For ``recovered`` a ratio of means, with the numerator and the denominator of each prompt; any real number.
        Sampled prompts on which both runs are equal at every exchanged place are left out and counted
        (``left_out``); those of a fixed population count.

    Raises:
        UsageError: an unknown head, site, position or corruption; runs that do not differ.
        NotApplicable: the architecture has no such site; both runs are equal there on all prompts.

    Wang et al. 2022, section 3; Zhang and Nanda 2023 on direction and corruption.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(head_patch_effect(experiment, "3.0", at="END").value, 2)
        0.63
    """
    cell = heads_cell(experiment, heads, site, at)
    (effect,) = _effects(experiment, "head_patch_effect", [cell], direction, corruption, metric)
    return defined(effect)


@checked
@cached
def patch_effect(
    experiment: Experiment,
    site: Stream,
    layer: int,
    *,
    at: At = None,
    direction: Direction = "denoise",
    corruption: str | None = None,
    metric: Metric | str = "recovered",
) -> Measurement:
    """The effect of exchanging a layer's residual stream or output between the clean and the corrupted run.

    As :func:`head_patch_effect`, for ``resid_pre``, ``resid_mid``, ``resid_post``, ``attn_out`` or ``mlp_out``.

    Args:
        experiment: checkpoint and data set.
        site: the activation.
        layer: from 0.
        at: a named position, an index, several; None for all positions.
        direction: ``denoise`` puts clean into corrupted, ``noise`` the reverse.
        corruption: the corrupted run; by default the data set's only one, and ``s2-exchanged`` where it has several.
        metric: ``recovered``, ``logit_diff``, ``log_prob``, ``kl`` ... or a :class:`Metric`.

    Returns:
        As :func:`head_patch_effect`: for ``recovered`` a ratio of means; any real number. Sampled prompts on which
        both runs are equal at every exchanged place are left out and counted (``left_out``).

    Raises:
        UsageError: an unknown site, layer, position or corruption; runs that do not differ.
        NotApplicable: the architecture has no such site; both runs are equal there on all prompts.

    Meng et al. 2022 (causal tracing); Wang et al. 2022, section 3.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> round(patch_effect(experiment, "resid_pre", 1, at="S2").value, 2)
        1.0
    """
    cell = layer_cell(experiment, site, layer, at)
    (effect,) = _effects(experiment, "patch_effect", [cell], direction, corruption, metric)
    return defined(effect)


@checked
@cached
def patch_effect_sweep(
    experiment: Experiment,
    site: Activation | Stream,
    *,
    positions: Sequence[str | int] | None = None,
    at: At = None,
    layers: Collection[int] | None = None,
    direction: Direction = "denoise",
    corruption: str | None = None,
    metric: Metric | str = "recovered",
) -> Table[Any]:
    """The patching effect of every cell: layer by position, layer by head, or head by position.

    Args:
        experiment: checkpoint and data set.
        site: a residual site (layer by position) or an activation of heads (layer by head). For ``k`` and ``v``
            of a model with grouped key-value heads the cells are those heads.
        positions: the columns; for residual sites by default the data set's named positions, or every index where
            all prompts have one length; for heads none: one column for each head at ``at``.
        at: for heads without ``positions``: where.
        layers: which; all by default.
        direction: ``denoise`` or ``noise``.
        corruption: the corrupted run; by default the data set's only one, and ``s2-exchanged`` where it has several.
        metric: as for :func:`head_patch_effect`.

    Returns:
        A table; a cell where both runs are equal on all prompts is undefined, not 0.

    Raises:
        UsageError: an unknown site, layer, position or corruption; runs that do not differ.
        NotApplicable: the architecture has no such site; no cell is defined.

    TransformerLens ``patching.get_act_patch_*`` gives the mean over prompts of each cell; these are per prompt.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> table = patch_effect_sweep(experiment, "z", at="END")
        >>> round(table["3.0"].value, 2), len(table.undefined)
        (0.63, 12)
    """
    check_site(site, (*LAYER_SITES, *HEAD_SITES))
    checkpoint, shape = experiment.checkpoint, experiment.checkpoint.shape
    swept_layers = range(shape.n_layers) if layers is None else list(layers)
    if site not in HEAD_SITES:
        columns = named_positions(experiment) if positions is None else positions
        streams = {(layer, at): layer_cell(experiment, site, layer, at) for layer in swept_layers for at in columns}
        effects = _effects(experiment, "patch_effect", list(streams.values()), direction, corruption, metric)
        return Table.of(dict(zip(streams, effects, strict=True)), ("layer", "position"))
    query_heads = [Head(layer, head) for layer in swept_layers for head in range(shape.n_heads)]
    heads: Sequence[Head | KVHead] = query_heads
    if site in ("k", "v") and shape.n_kv_heads < shape.n_heads:
        heads = sorted({checkpoint.kv_head(head) for head in query_heads})
    cells = {(head, position): heads_cell(experiment, head, site, position)
             for head in heads for position in ([at] if positions is None else positions)}  # fmt: skip
    effects = _effects(experiment, "head_patch_effect", list(cells.values()), direction, corruption, metric)
    if positions is None:
        return heads_table(dict(zip(heads, effects, strict=True)))
    return Table.of(dict(zip(cells, effects, strict=True)), ("head", "position"))


def named_positions(experiment: Experiment) -> Sequence[str | int]:
    """Every index where all prompts have one length, else the named positions.

    Args:
        experiment: checkpoint and data set.

    Returns:
        The columns of a sweep by position: indices from 0, or names.
    """
    groups = experiment.data.clean.groups
    return range(groups[0].tokens.shape[1]) if len(groups) == 1 else experiment.data.clean.position_names


@checked
@cached
def flips(experiment: Experiment, corruption: str | None = None) -> Measurement:
    """The share of prompts whose answer a corruption flips: clean prefers the answer, corrupted the distractor.

    Patching from a corruption that leaves the answer as it is measures nothing.

    Args:
        experiment: checkpoint and data set.
        corruption: the corrupted run; by default the data set's only one, and ``s2-exchanged`` where it has several.

    Returns:
        0 or 1 for each prompt; the tolerance counts the prompts that float noise could turn.

    Raises:
        UsageError: no such corruption, or one that changes no prompt.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> flips(experiment).value
        1.0
    """
    corruption = corruption_of(experiment, corruption)
    require_contrast(experiment, corruption)
    clean, corrupted = experiment.logit_diffs("clean"), experiment.logit_diffs(corruption)
    flipped = (clean > 0) & (corrupted < 0)
    close = (clean.abs().minimum(corrupted.abs()) <= experiment.noise).float().mean()
    return per_prompt(
        experiment,
        "flips",
        flipped.float(),
        experiment.context(heads=None, intervention=Exchanged(corruption, None), metric=None),
        unit="share",
        tolerance=float(close) + 1e-9,
    )


def corruption_of(experiment: Experiment, corruption: str | None, usual: str = "s2-exchanged") -> str:
    """The corrupted run that is meant: the one that is named, else the data set's only one, else the usual one.

    Args:
        experiment: checkpoint and data set.
        corruption: the name; None where none was passed.
        usual: the corruption of the published experiment, where the data set has several.

    Returns:
        The name of the corrupted run.
    """
    if corruption is not None:
        return corruption
    names = list(experiment.data.corrupted)
    return names[0] if len(names) == 1 else usual


def _effects(
    experiment: Experiment,
    quantity: str,
    cells: Sequence[PatchCell],
    direction: Direction,
    corruption: str | None,
    metric: Metric | str,
) -> list[Measurement | str]:
    """The effect of exchanging each cell on its own, or why it is undefined."""
    if direction not in get_args(Direction):
        raise UsageError(
            f"direction is {shown(direction)}; allowed: 'denoise' (clean into corrupted), 'noise' (the reverse)"
        )
    corruption = corruption_of(experiment, corruption)
    require_contrast(experiment, corruption)
    origin, target = ("clean", corruption) if direction == "denoise" else (corruption, "clean")
    score = LOGIT_DIFF if metric == "recovered" else as_metric(metric)
    source = from_run(experiment, [node for cell in cells for node in cell.nodes], origin)
    patches = [Patch(cell.nodes, source) for cell in cells]
    prompts = changed_prompts(experiment, patches, target, score.at)
    jobs = [[patch] for patch, rows in zip(patches, prompts, strict=True) if rows]
    passes = patched(experiment, jobs, metric=score, run=target)
    scale: Tensor | None = None
    unit, noise, values = score.unit, score.noise(experiment.checkpoint.precision), passes.values
    if metric == "recovered":
        scale = experiment.logit_diffs("clean") - experiment.logit_diffs(corruption)
        unit, noise, values = "recovered", ratio_noise(experiment, scale), values - experiment.logit_diffs(corruption)
    elif score.score != "kl":
        values = values - experiment.scores(score, target)
    effects: list[Measurement | str] = []
    measured = iter(values)
    for cell, rows in zip(cells, prompts, strict=True):
        if not rows:
            effects.append(no_change(experiment, cell_text(cell), cell.nodes, corruption, score.at))
            continue
        context = experiment.context(
            heads=cell.heads,
            intervention=Exchanged(corruption, direction),
            metric="recovered" if metric == "recovered" else score.text,
            at=text_of(cell.at),
            site=cell.site,
            passes_from=passes.start_from,
        )
        if cell.layer is not None:
            context = context.noting(layer=cell.layer)
        context = replace(context, kv_heads=cell.kv_heads)
        effect = per_prompt(experiment, quantity, next(measured), context, unit=unit, scale=scale, tolerance=noise)
        effects.append(effect_or_reason(effect, rows))
    return effects
