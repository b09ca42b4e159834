"""Patching sweeps against TransformerLens's own, in one process: ``python benchmarks/patching.py [work ...]``.

For each work: seconds of both, their ratio, the largest difference of any prompt, the most memory that was held, and
which share of the arithmetic lower bound is reached. The stock sweeps make one whole pass for each cell, each as long
as the other, so they may be timed on some of the cells (``--stock-cells``) and scaled; those cells are compared.
``--growth`` times ours on several sizes instead. benchmarks/README.md has a run of both.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from whole_passes import whole

from pytest_interp import Checkpoint, CheckpointSpec, Experiment, Head
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.forward import Forward
from pytest_interp.measure import patch_effect_sweep, path_patch_effect, path_patch_effect_sweep
from pytest_interp.tasks import ioi

SMOLLM2, GPT2 = "smollm2-135m-instruct", "gpt2-shape"
MOVERS = {GPT2: ["9.9", "9.6", "10.0"], SMOLLM2: ["23.0", "23.1", "23.2"]}
Values = Mapping[Any, Any]
"""The metric of each prompt, by cell."""


@dataclass(frozen=True)
class Work:
    """One thing that is timed, on one model.

    Attributes:
        ours: a table of effects by cell.
        stock: the same by whole passes, of about so many of the cells; and how many cells there are in all.
        least: by how much ours has to be faster.
        bound: the multiply-adds of one prompt that cannot be avoided, given its model, length and first difference.
        lengths: of how many lengths the prompts are.
    """

    name: str
    model: str
    ours: Callable[[Experiment], Any]
    stock: Callable[[Experiment, int], tuple[Values, int]]
    least: float
    corruption: str = "s2-exchanged"
    bound: Callable[[Checkpoint, int, int], float] | None = None
    lengths: int = 2


def gpt2_shape(n_layers: int = 12, n_heads: int = 12) -> Checkpoint:
    """Random weights of GPT-2 small's shape, with SmolLM2's tokenizer and vocabulary."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = Checkpoint(known_specs()[SMOLLM2]).tokenizer
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_layer=n_layers, n_head=n_heads, attn_implementation="eager")
    return Checkpoint(CheckpointSpec(GPT2, loader=lambda: (GPT2LMHeadModel(config).eval(), tokenizer)))


def pairs(checkpoint: Checkpoint, n: int, lengths: int = 2) -> Experiment:
    """IOI prompts of the most frequent lengths of a larger draw."""
    data = ioi(checkpoint.tokenizer, half="all", n=12 * max(n, 16), seed=0, bos=False)
    groups = sorted(data.clean.groups, key=lambda group: -len(group.rows))[:lengths]
    rows = [row for group in groups for row in group.rows[: -(-n // lengths)]][:n]
    assert len(rows) == n, f"{len(rows)} prompts of {lengths} lengths, not {n}"
    return Experiment(checkpoint, data.rebuild(sorted(rows)))


# ---- the stock way: one whole pass for each cell


def spread(cells: Iterable[Any], count: int) -> list[Any]:
    """About ``count`` of the cells, spread evenly over them; all cells for 0."""
    listed = list(cells)
    return listed[:: max(1, len(listed) // count) if count else 1]


def stock(experiment: Experiment, count: int, *, site: str, setter: Any = None, corruption: str) -> tuple[Values, int]:
    """``transformer_lens.patching``: heads' z by layer and head, or a stream by layer and position."""
    import pandas as pd
    from transformer_lens import patching

    shape, clean = experiment.checkpoint.shape, experiment.data.clean
    if site == "z":
        cells, columns = [(head.layer, head.head) for head in shape.heads], ["layer", "head"]
        setter = setter or patching.layer_head_vector_patch_setter
    else:
        length, setter = clean.groups[0].tokens.shape[1], patching.layer_pos_patch_setter
        cells, columns = [(layer, pos) for layer in range(shape.n_layers) for pos in range(length)], ["layer", "pos"]
    timed_cells = spread(cells, count)
    results = {cell: torch.empty(len(clean)) for cell in timed_cells}
    for group, other in zip(clean.groups, experiment.data.run(corruption).groups, strict=True):
        rows = torch.arange(len(group.rows), device=experiment.checkpoint.device)

        def metric(logits: Any, group: Any = group, rows: Any = rows) -> Any:
            answers, distractors = group.answers.to(logits.device), group.distractors.to(logits.device)
            return logits[rows, -1, answers] - logits[rows, -1, distractors]

        bridge = experiment.checkpoint.bridge
        with torch.inference_mode():
            tokens, others = (part.tokens.to(experiment.checkpoint.device) for part in (group, other))
            _, cache = bridge.run_with_cache(tokens, names_filter=lambda name: name.endswith(f"hook_{site}"))
            result = patching.generic_activation_patch(
                bridge, others, cache, metric, patch_setter=setter, activation_name=site,
                index_df=pd.DataFrame(timed_cells, columns=columns), reduce="none",
            )  # fmt: skip
        for cell, values in zip(timed_cells, result.values, strict=True):
            results[cell][list(group.rows)] = values.float().cpu()
    return results, len(cells)


def at_end(corrupted: Any, index: Any, clean: Any) -> Any:
    """A setter for one head at the last position."""
    corrupted[:, -1, index[1]] = clean[:, -1, index[1]]
    return corrupted


def stock_paths(experiment: Experiment, count: int) -> tuple[Values, int]:
    """A naive loop of whole passes with hooks, one sender after the other."""
    receivers = MOVERS[experiment.checkpoint.name]
    last = max(Head.parse(name).layer for name in receivers)
    heads = [head for head in experiment.checkpoint.shape.heads if head.layer < last]
    senders, original = spread(heads, count), Forward.clean_pass
    Forward.clean_pass = whole  # type: ignore[method-assign]
    try:
        clean = experiment.logit_diffs()
        effects = [path_patch_effect(experiment, head, receivers, into="q") for head in senders]
    finally:
        Forward.clean_pass = original  # type: ignore[method-assign]
    assert {effect.context.extra["passes_from"] for effect in effects} == {"whole"}
    pairs_of = zip(senders, effects, strict=True)
    return {head: torch.tensor(effect.values) + clean for head, effect in pairs_of}, len(heads)


# ---- what cannot be avoided


def widths(checkpoint: Checkpoint) -> tuple[float, float, float]:
    """Weights of a layer: of keys and values; of queries and output; of the MLP."""
    shape, block = checkpoint.shape, checkpoint.bridge.blocks[0]
    d, mlp = shape.d_model, sum(part.numel() for part in block.mlp.parameters() if part.ndim == 2)
    return 2 * d * shape.n_kv_heads * shape.d_head, 2 * d * shape.n_heads * shape.d_head, mlp


def after(checkpoint: Checkpoint, layer: int, length: int, first: int) -> float:
    """Multiply-adds of the layers from this one on, for what a change from a position on can reach at END."""
    keys, rest, mlp = widths(checkpoint)
    wide = checkpoint.shape.n_heads * checkpoint.shape.d_head
    left, count = checkpoint.shape.n_layers - layer, length - first
    if left <= 0:
        return 0.0
    # In the last layer keys and values of all these positions are read, but by END alone.
    whole = count * (keys + rest + mlp) + sum(2 * wide * (pos + 1) for pos in range(first, length))
    return (left - 1) * whole + count * keys + rest + mlp + 2 * wide * length


def bound_heads(checkpoint: Checkpoint, length: int, first: int) -> float:
    """Every head's z from the first difference on: its output, its layer's MLP, and what comes after."""
    shape, (_, _, mlp) = checkpoint.shape, widths(checkpoint)
    count, last = length - first, shape.n_layers - 1
    return shape.n_heads * sum(
        (count if layer < last else 1) * (shape.d_head * shape.d_model + mlp)
        + after(checkpoint, layer + 1, length, first)
        for layer in range(shape.n_layers)
    )


def bound_end(checkpoint: Checkpoint, length: int, _: int) -> float:
    """The same at END alone."""
    return bound_heads(checkpoint, length, length - 1)


def bound_stream(checkpoint: Checkpoint, length: int, first: int) -> float:
    """The stream at the entry of every layer, at every position from the first difference on."""
    return sum(
        after(checkpoint, layer, length, position)
        for layer in range(checkpoint.shape.n_layers)
        for position in range(first, length)
    )


def bound_of(work: Work, experiment: Experiment) -> float:
    """Multiply-adds of the whole work: both unedited runs as far as they differ, and the cells."""
    assert work.bound is not None
    total = 0.0
    for group, other in zip(experiment.data.clean.groups, experiment.data.run(work.corruption).groups, strict=True):
        length = group.tokens.shape[1]
        for first in (group.tokens != other.tokens).int().argmax(1).tolist():
            total += after(experiment.checkpoint, 0, length, 0) + after(experiment.checkpoint, 0, length, first)
            total += work.bound(experiment.checkpoint, length, first)
    return total


def rate() -> float:
    """Multiply-adds a second of matrix products on this machine, the best of several."""
    best = 0.0
    for rows, inner, columns in ((512, 768, 3072), (1024, 1024, 1024), (2048, 2048, 2048)):
        left, right = torch.randn(rows, inner), torch.randn(inner, columns)
        for _ in range(8):
            start = time.perf_counter()
            left @ right
            best = max(best, rows * inner * columns / (time.perf_counter() - start))
    return best


# ---- the works


def works() -> list[Work]:
    """The works to time, each with the smallest ratio that is required."""
    all_works = []
    for model, everywhere, end in ((GPT2, 7.0, 20.0), (SMOLLM2, 6.0, 17.0)):
        exchanged, abc = "s2-exchanged", "abc"
        all_works += [
            Work("z, all positions", model, lambda e: patch_effect_sweep(e, "z", metric="logit_diff"),
                 partial(stock, site="z", corruption=exchanged), everywhere, bound=bound_heads),
            Work("z, END only", model, lambda e: patch_effect_sweep(e, "z", at="END", metric="logit_diff"),
                 partial(stock, site="z", setter=at_end, corruption=exchanged), end, bound=bound_end),
            Work("z, all positions, from ABC", model,
                 lambda e: patch_effect_sweep(e, "z", corruption="abc", metric="logit_diff"),
                 partial(stock, site="z", corruption=abc), 3.5, corruption=abc, bound=bound_heads),
            Work("resid_pre by layer and position", model,
                 lambda e: patch_effect_sweep(e, "resid_pre", metric="logit_diff"),
                 partial(stock, site="resid_pre", corruption=exchanged), 5.0, bound=bound_stream, lengths=1),
            Work("paths into the movers' queries", model,
                 lambda e: path_patch_effect_sweep(e, MOVERS[e.checkpoint.name], into="q"), stock_paths, 10.0,
                 corruption="clean"),
        ]  # fmt: skip
    return all_works


def timed(experiment: Experiment, what: Callable[[Experiment], Any]) -> tuple[Any, float]:
    """The result of a function, and its seconds from an empty memo on, preparation included."""
    with experiment.checkpoint.guard.isolated_memory():
        start = time.perf_counter()
        result = what(experiment)
        return result, time.perf_counter() - start


def run(work: Work, checkpoint: Checkpoint, n: int, cells: int, repeat: int, best: float) -> dict[str, Any]:
    """Times a work with this package and with the stock functions, and compares their results."""
    experiment = pairs(checkpoint, n, work.lengths)
    timed(experiment, lambda e: e.logit_diffs())  # weights are paged in before the clock starts
    seconds = []
    for _ in range(repeat):
        table, duration = timed(experiment, work.ours)
        seconds.append(duration)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (stock_results, total), stock_seconds = timed(experiment, lambda e: work.stock(e, cells))
    ours, stock_scaled = statistics.median(seconds), stock_seconds * total / len(stock_results)
    base = experiment.logit_diffs(work.corruption)
    worst = max(
        float((torch.tensor(table[cell].values) - (values - base)).abs().max())
        for cell, values in stock_results.items()
    )
    least = bound_of(work, experiment) / best if work.bound else None
    return {
        "work": work.name, "model": work.model, "prompts": n, "cells": total,
        "stock cells timed": len(stock_results), "ours": ours, "stock": stock_scaled, "ratio": stock_scaled / ours,
        "at least": work.least, "largest difference": worst, "peak MB": peak, "lower bound": least,
        "of the bound": least and least / ours, "measured": datetime.date.today().isoformat(),
    }  # fmt: skip


def growth(chosen: list[str]) -> list[dict[str, Any]]:
    """Seconds of the sweep over every head's z by prompts, layers and heads, and the power that fits them."""
    import numpy as np

    sweeps: list[tuple[str, list[int], Callable[[int], Experiment]]] = [
        ("prompts", [12, 24, 48, 96], lambda n: pairs(gpt2_shape(), n)),
        ("layers", [3, 6, 12, 24], lambda n: pairs(gpt2_shape(n_layers=n), 16)),
        ("heads", [4, 8, 16, 32], lambda n: pairs(gpt2_shape(n_heads=n), 16)),
    ]
    results = []
    for name, sizes, experiment_of in (sweep for sweep in sweeps if not chosen or sweep[0] in chosen):
        for at in (None, "END"):
            seconds = []
            for size in sizes:
                experiment = experiment_of(size)
                timed(experiment, lambda e: e.logit_diffs())
                seconds.append(
                    timed(experiment, lambda e, at=at: patch_effect_sweep(e, "z", at=at, metric="logit_diff"))[1]
                )
            power = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
            results.append({"grows with": name, "at": at or "all", "sizes": sizes, "seconds": seconds, "power": power})
            print(results[-1], flush=True)
    return results


def main() -> None:
    """Times what is asked for, prints a line for each, and writes all to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("works", nargs="*", help="parts of names of works, or what grows; all by default")
    parser.add_argument("--model", default="", help="part of a model's name")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3, help="ours so often; the median counts")
    parser.add_argument("--stock-cells", type=int, default=0, help="time the stock way on about so many cells")
    parser.add_argument("--growth", action="store_true", help="ours on several sizes instead")
    parser.add_argument("--json", type=Path, help="where to write the results")
    chosen = parser.parse_args()
    if chosen.growth:
        results = growth(chosen.works)
    else:
        results, best = [], rate()
        print(f"{best / 1e9:.0f}e9 multiply-adds a second, {torch.get_num_threads()} threads", flush=True)
        for model, load in ((GPT2, gpt2_shape), (SMOLLM2, lambda: Checkpoint(known_specs()[SMOLLM2]))):
            selected = [work for work in works() if work.model == model and chosen.model in model]
            if chosen.works:
                selected = [work for work in selected if any(part in work.name for part in chosen.works)]
            checkpoint = load() if selected else None
            for work in selected:
                results.append(run(work, checkpoint, chosen.prompts, chosen.stock_cells, chosen.repeat, best))
                print(
                    {
                        key: round(number, 6) if isinstance(number, float) else number
                        for key, number in results[-1].items()
                    },
                    flush=True,
                )
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
