"""Descriptions of activations: means, variances and norms, by layer or head. What they mean, a claim must say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from pytest_interp.cache import cached
from pytest_interp.engine.interventions import positions_of
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head
from pytest_interp.measure._per_prompt import per_prompt
from pytest_interp.measure.attention import pearson
from pytest_interp.measure.patching import named_positions
from pytest_interp.measurement import PROBABILITY_NOISE, Json, Measurement
from pytest_interp.table import Table, heads_table

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

Projection: TypeAlias = Literal["q", "k", "v"]
Kind: TypeAlias = Literal["scores", "pattern"]
Variant: TypeAlias = Literal["per_head", "concatenated"]


@cached
def activation_statistics(
    experiment: Experiment, site: Projection | Literal["z"], *, run: str = "clean"
) -> Table[tuple[int, str]]:
    """Mean and variance of the numbers in q, k, v (before rotation) or z of each layer, the first token left out.

    Over heads, dimensions and positions of a prompt; the first token, on which many heads rest, has activations of
    another size.

    Returns:
        A table with a row for each layer and the columns ``mean`` and ``variance``; a value for each prompt.
    """
    cells: dict[tuple[int, str], Measurement] = {}
    for layer in _layers(experiment, run, lambda layer: [_site(experiment, site, layer)]):
        flat = [x[:, 1:].flatten(1).float() for x in experiment.activation(_site(experiment, site, layer), run)]
        about = {"site": site, "layer": layer, "run": run, "first_token": False}
        for name, by_group in (
            ("mean", [x.mean(1) for x in flat]),
            ("variance", [x.var(1, correction=0) for x in flat]),
        ):
            values = experiment.in_order(by_group)
            cells[layer, name] = per_prompt(experiment, f"{site}_{name}", values, unit="activation", about=about)
    return Table(cells, ("layer", "statistic"))


def activation_values(
    experiment: Experiment, site: Projection | Literal["z"], layer: int, *, run: str = "clean"
) -> Tensor:
    """All numbers of q, k, v or z of a layer, first token left out: what a histogram is drawn from."""
    kept = experiment.activation(_site(experiment, site, layer), run)
    return torch.cat([x[:, 1:].flatten().float().cpu() for x in kept])


@cached
def score_statistics(
    experiment: Experiment, kind: Kind = "scores", *, variant: Variant = "per_head", run: str = "clean"
) -> Table[tuple[int, str]]:
    """Mean and standard deviation of the attention scores of each layer, or of their softmax.

    ``scores``: ``q . k / sqrt(d_head)`` after rotation, of each head, at or before the destination (causal);
    ``pattern``: its softmax over sources, likewise. ``concatenated`` is what a notebook in the literature plots:
    queries and keys of all heads as one long vector, every pair of positions, no mask, over ``sqrt(d_head)``, softmax
    over all positions. It is not attention, and stands here to be compared with it.

    Returns:
        A table with a row for each layer and the columns ``mean`` and ``sd``; a value for each prompt.
    """
    if kind not in ("scores", "pattern") or variant not in ("per_head", "concatenated"):
        raise UsageError(
            f"kind is {kind!r}, variant {variant!r}; allowed: 'scores', 'pattern'; 'per_head', 'concatenated'"
        )
    cells: dict[tuple[int, str], Measurement] = {}
    for layer in _layers(experiment, run, lambda layer: _queries_and_keys(experiment, layer, variant)):
        means, deviations = [], []
        for scores in _scores(experiment, layer, variant, run):
            causal = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
            if variant == "per_head":
                causal = causal.tril()
                scores = scores.masked_fill(~causal, float("-inf"))  # noqa: PLW2901
            shown = scores if kind == "scores" else scores.softmax(-1)
            flat = shown[..., causal].flatten(1).float()
            means.append(flat.mean(1))
            deviations.append(flat.std(1, correction=0))
        about = {"layer": layer, "variant": variant, "kind": kind, "run": run}
        unit = "score" if kind == "scores" else "probability"
        for name, by_group in (("mean", means), ("sd", deviations)):
            cells[layer, name] = per_prompt(
                experiment, f"{kind}_{name}", experiment.in_order(by_group), unit=unit, about=about
            )
    return Table(cells, ("layer", "statistic"))


def _scores(experiment: Experiment, layer: int, variant: Variant, run: str) -> list[Tensor]:
    """Scores without a mask, for each group ``(row, head, query, key)``; one head for the concatenated variant."""
    checkpoint = experiment.checkpoint
    hooks = _queries_and_keys(experiment, layer, variant)
    kept = experiment.activations(hooks, experiment.data.run(run))
    made = []
    for q, k in zip(*(kept[hook] for hook in hooks), strict=True):
        q, k = q.transpose(1, 2), k.transpose(1, 2)  # noqa: PLW2901
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)  # noqa: PLW2901
        if variant == "concatenated":
            q, k = (x.transpose(1, 2).flatten(2).unsqueeze(1) for x in (q, k))  # noqa: PLW2901
        made.append(q.float() @ k.float().transpose(-1, -2) / checkpoint.shape.d_head**0.5)
    return made


def _queries_and_keys(experiment: Experiment, layer: int, variant: Variant) -> list[str]:
    """The hooks that scores are made of: after rotation, but for the concatenated variant."""
    if variant == "concatenated":
        return [experiment.checkpoint.hook(site, layer) for site in "qk"]
    return [_rotated(experiment, site, layer) for site in "qk"]


def _rotated(experiment: Experiment, site: str, layer: int) -> str:
    """The hook of a query or key as scores are made of it: after rotation where there is one."""
    try:
        return experiment.checkpoint.hook(f"rot_{site}", layer)
    except NotApplicable:
        return experiment.checkpoint.hook(site, layer)


@cached
def head_norms(experiment: Experiment, *, at: str | int | None = None, run: str = "clean") -> Table[Head]:
    """The norm of z of every head, layer by head: at a position, or the mean over all of them."""
    shape = experiment.checkpoint.shape
    cells = {}
    for layer in _layers(experiment, run, partial(_z, experiment)):
        norms = _norms(experiment, layer, at, run)
        for head in range(shape.n_heads):
            cells[Head(layer, head)] = per_prompt(
                experiment,
                "z_norm",
                norms[:, head],
                unit="norm",
                about={"heads": [f"{layer}.{head}"], "at": "all positions" if at is None else at, "run": run},
            )
    return heads_table(cells)


@cached
def position_norms(
    experiment: Experiment, *, positions: Sequence[str | int] | None = None, run: str = "clean"
) -> Table[tuple[int, str | int]]:
    """The norm of z, mean over the heads of a layer: layer by position."""
    columns = named_positions(experiment) if positions is None else positions
    return Table(
        {
            (layer, column): per_prompt(
                experiment,
                "z_norm",
                _norms(experiment, layer, column, run).mean(1),
                unit="norm",
                about={"layer": layer, "at": column, "run": run},
            )
            for layer in _layers(experiment, run, partial(_z, experiment))
            for column in columns
        },
        ("layer", "position"),
    )


@cached
def occurrence_difference(
    experiment: Experiment, first: str = "S1", second: str = "S2", *, run: str = "clean"
) -> Table[Head]:
    """How differently each head treats two mentions of a name: the mean of ``|z[first] - z[second]|``, by head."""
    shape = experiment.checkpoint.shape
    cells = {}
    for layer in _layers(experiment, run, partial(_z, experiment)):
        means = _difference(experiment, layer, first, second, run)
        for head in range(shape.n_heads):
            about = {"heads": [f"{layer}.{head}"], "first": first, "second": second, "run": run}
            cells[Head(layer, head)] = per_prompt(
                experiment, "occurrence_difference", means[:, head], unit="activation", about=about
            )
    return heads_table(cells)


@cached
def selectivity(
    experiment: Experiment, first: str = "S1", second: str = "S2", *, run: str = "clean"
) -> Table[tuple[int, str]]:
    """How unequally the heads of a layer treat two mentions of a name.

    The mean of the two largest over the mean of the two smallest of the heads' mean ``|z[first] - z[second]|``; at
    least 1.

    Raises:
        NotApplicable: fewer than four heads; heads that do not tell the mentions apart at all.
    """
    shape = experiment.checkpoint.shape
    if shape.n_heads < 4:
        raise NotApplicable(f"{experiment.checkpoint.name} has {shape.n_heads} heads in a layer; the ratio needs four")
    cells: dict[tuple[int, str], Measurement] = {}
    for layer in _layers(experiment, run, partial(_z, experiment)):
        means = _difference(experiment, layer, first, second, run).sort(dim=1).values
        bottom = means[:, :2].mean(1)
        if float(bottom.min()) <= 0:
            continue  # heads that write nothing at all: the ratio is undefined there
        about: dict[str, Json] = {"layer": layer, "first": first, "second": second, "run": run}
        cells[layer, "ratio"] = per_prompt(
            experiment, "selectivity", means[:, -2:].mean(1) / bottom, unit="ratio", tolerance=1e-3, about=about
        )
    if not cells:
        raise NotApplicable(f"in every layer of {experiment.checkpoint.name} two heads do not differ at all between "
                            f"{first} and {second}: the ratio is undefined")  # fmt: skip
    return Table(cells, ("layer", "statistic"))


def correlation(one: Table[Head], other: Table[Head]) -> Measurement:
    """Pearson's r between two quantities of the same heads, over heads; the values' mean is r.

    Raises:
        UsageError: tables of different heads.
    """
    if set(one) != set(other):
        raise UsageError("the tables are of different heads; sweep both over the same layers")
    a, b = (torch.tensor([table[head].value for head in one], dtype=torch.float64) for table in (one, other))
    if float(a.std()) == 0 or float(b.std()) == 0:
        raise NotApplicable(f"{one.quantity} or {other.quantity} is the same for all heads: no correlation")
    names = tuple(str(head) for head in one)
    return Measurement(
        f"{one.quantity}_{other.quantity}_correlation",
        "correlation",
        tuple(pearson(a, b).tolist()),
        names,
        names,
        "fixed",
        tolerance=PROBABILITY_NOISE["float32"],
        about={**next(iter(one.values())).about, "heads": list(names), "each": "head"},
    )


def _difference(experiment: Experiment, layer: int, first: str, second: str, run: str) -> Tensor:
    by_group = []
    hook = experiment.checkpoint.hook("z", layer)
    for group, z in zip(experiment.data.clean.groups, experiment.activation(hook, run), strict=True):
        rows = torch.arange(len(z), device=z.device)
        a, b = (z[rows, experiment.position(group, name)] for name in (first, second))
        by_group.append((a - b).abs().mean(-1))
    return experiment.in_order(by_group)


def _norms(experiment: Experiment, layer: int, at: str | int | None, run: str) -> Tensor:
    by_group = []
    for index, z in enumerate(experiment.activation(experiment.checkpoint.hook("z", layer), run)):
        (where,) = positions_of(experiment, index, at)
        norms = z.float().norm(dim=-1)
        by_group.append(norms.mean(1) if where is None else norms[torch.arange(len(z), device=z.device), where])
    return experiment.in_order(by_group)


def _layers(experiment: Experiment, run: str, hooks_of: Callable[[int], list[str]]) -> range:
    """Every layer, after one pass that keeps what will be asked of each."""
    layers = range(experiment.checkpoint.shape.n_layers)
    experiment.activations([hook for layer in layers for hook in hooks_of(layer)], experiment.data.run(run))
    return layers


def _z(experiment: Experiment, layer: int) -> list[str]:
    return [experiment.checkpoint.hook("z", layer)]


def _site(experiment: Experiment, site: str, layer: int) -> str:
    if site not in ("q", "k", "v", "z"):
        raise UsageError(f"site is {site!r}; allowed: 'q', 'k', 'v', 'z'")
    return experiment.checkpoint.hook(site, layer)
