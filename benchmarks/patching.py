"""Patching sweeps against TransformerLens's own, in one process: ``python benchmarks/patching.py [work ...]``.

For each work: seconds of both, their ratio, the largest difference of any prompt, the most memory that was held, and
the share of the arithmetic lower bound that is reached. The stock sweeps make one whole pass for each cell, so they may
be timed on some of the cells (``--stock-cells``) and scaled; what is compared is then those cells.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pytest_interp import Checkpoint, CheckpointSpec, Experiment, Head
from pytest_interp.checkpoints import known_specs
from pytest_interp.measure import patch_sweep, path_patch_sweep
from pytest_interp.measure.path_patching import path_patch_effect
from pytest_interp.tasks import ioi, single_token_names

MOVERS = {"gpt2-shape": ["9.9", "9.6", "10.0"], "smollm2-135m-instruct": ["23.0", "23.1", "23.2"]}


@dataclass(frozen=True)
class Work:
    """One thing that is timed, on one model."""

    name: str
    model: str
    ours: Callable[[Experiment], Any]
    stock: Callable[[Experiment, int], tuple[dict[Any, Any], int]]
    least: float


def model_of(name: str) -> Checkpoint:
    """SmolLM2, or random weights of GPT-2 small's shape with SmolLM2's tokenizer and vocabulary."""
    if name != "gpt2-shape":
        return Checkpoint(known_specs()[name])
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = Checkpoint(known_specs()["smollm2-135m-instruct"]).tokenizer
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), attn_implementation="eager")
    return Checkpoint(CheckpointSpec("gpt2-shape", loader=lambda: (GPT2LMHeadModel(config).eval(), tokenizer)))


def pairs(checkpoint: Checkpoint, n: int) -> Experiment:
    """IOI prompts of one or two lengths that differ at S2: the longest groups of a larger draw."""
    assert len(single_token_names(checkpoint.tokenizer)) >= 4
    data = ioi(checkpoint.tokenizer, half="all", n=6 * n, seed=0, bos=False)
    sizes = sorted(data.clean.groups, key=lambda group: -len(group.rows))
    rows = [row for group in sizes for row in group.rows][:n]
    return Experiment(checkpoint, data.rebuild(sorted(rows)))


# ---- the stock way: one whole pass for each cell


def stock_heads(experiment: Experiment, cells: int, *, at_end: bool, corruption: str = "s2-exchanged") -> Any:
    """``get_act_patch_attn_head_out_all_pos``, or the same with a setter for the last position."""
    import pandas as pd
    from transformer_lens.patching import generic_activation_patch, layer_head_vector_patch_setter

    def last(corrupted: Any, index: Any, clean: Any) -> Any:
        corrupted[:, -1, index[1]] = clean[:, -1, index[1]]
        return corrupted

    setter = last if at_end else layer_head_vector_patch_setter
    return _stock(experiment, cells, partial(generic_activation_patch, patch_setter=setter, activation_name="z"),
                  [tuple(head) for head in experiment.checkpoint.shape.heads], ["layer", "head"], "hook_z", corruption,
                  pd)  # fmt: skip


def _stock(experiment: Experiment, cells: int, function: Any, index: list[Any], columns: list[str], hook: str,
           corruption: str, pd: Any) -> tuple[dict[Any, Any], int]:  # fmt: skip
    step = max(1, len(index) // cells) if cells else 1
    some = index[::step]
    bridge, found = experiment.checkpoint._bridge, {cell: torch.empty(len(experiment.data.clean)) for cell in some}
    for group, other in zip(experiment.data.clean.groups, experiment.data.run(corruption).groups, strict=True):
        rows = torch.arange(len(group.rows))

        def metric(logits: Any, group: Any = group, rows: Any = rows) -> Any:
            return logits[rows, -1, group.answers] - logits[rows, -1, group.distractors]

        with torch.inference_mode():
            _, cache = bridge.run_with_cache(group.tokens, names_filter=lambda name: name.endswith(hook))
            result = function(bridge, other.tokens, cache, metric, index_df=pd.DataFrame(some, columns=columns),
                              reduce="none")  # fmt: skip
        for cell, values in zip(some, result.values, strict=True):
            found[cell][list(group.rows)] = values.float()
    return found, len(index)


def stock_paths(experiment: Experiment, cells: int) -> Any:
    """A naive loop of whole passes with hooks, one sender after the other."""
    checkpoint = experiment.checkpoint
    receivers = MOVERS[checkpoint.name]
    heads = [head for head in checkpoint.shape.heads if head.layer < max(Head.parse(one).layer for one in receivers)]
    some = heads[:: max(1, len(heads) // cells) if cells else 1]
    from pytest_interp.checkpoints.blocks import Prepared

    before = Checkpoint.prepare
    Checkpoint.prepare = lambda self, tokens: Prepared((), self.run(tokens).logits, {}, "whole")  # type: ignore[method-assign]
    try:
        with checkpoint.scratch():
            found = {
                head: torch.tensor(path_patch_effect(experiment, head, receivers, into="q").values) for head in some
            }
    finally:
        Checkpoint.prepare = before  # type: ignore[method-assign]
    return found, len(heads)


def works() -> list[Work]:
    """What is timed, and by how much it has to be faster."""
    made = []
    for model, all_positions, end in (("gpt2-shape", 7.0, 20.0), ("smollm2-135m-instruct", 6.0, 17.0)):
        made += [
            Work("z, all positions", model, lambda e: patch_sweep(e, "z", metric="logit_diff"),
                 partial(stock_heads, at_end=False), all_positions),
            Work("z, END", model, lambda e: patch_sweep(e, "z", at="END", metric="logit_diff"),
                 partial(stock_heads, at_end=True), end),
            Work("z, all positions, from ABC", model,
                 lambda e: patch_sweep(e, "z", corruption="abc", metric="logit_diff"),
                 partial(stock_heads, at_end=False, corruption="abc"), 3.5),
            Work("paths into the movers' queries", model,
                 lambda e: path_patch_sweep(e, MOVERS[e.checkpoint.name], into="q"), stock_paths, 10.0),
        ]  # fmt: skip
    return made


def run(work: Work, n: int, cells: int) -> dict[str, Any]:
    """Both ways, preparation included."""
    experiment = pairs(model_of(work.model), n)
    experiment.checkpoint.run(experiment.data.clean.groups[0].tokens)  # weights are paged in before the clock starts
    with experiment.checkpoint.scratch():
        start = time.perf_counter()
        table = work.ours(experiment)
        ours = time.perf_counter() - start
    with experiment.checkpoint.scratch():
        start = time.perf_counter()
        found, total = work.stock(experiment, cells)
        stock = (time.perf_counter() - start) * total / len(found)
        corrupted = 0.0
        if work.name.startswith("z"):
            corrupted = experiment.logit_diffs("abc" if "ABC" in work.name else "s2-exchanged")
        differences = [
            float((torch.tensor(table[tuple(cell)].values) - (values - corrupted)).abs().max())
            for cell, values in found.items()
        ]
    return {
        "work": work.name, "model": work.model, "prompts": len(experiment.data.clean), "cells": total,
        "stock cells timed": len(found), "ours": ours, "stock": stock, "ratio": stock / ours, "at least": work.least,
        "largest difference": max(differences),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("works", nargs="*", help="parts of names of works; all by default")
    parser.add_argument("--model", default="", help="part of a model's name")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--stock-cells", type=int, default=0, help="time the stock way on about so many cells")
    parser.add_argument("--json", type=Path, help="where to write the results")
    chosen = parser.parse_args()
    results = []
    for work in works():
        if chosen.model in work.model and (not chosen.works or any(part in work.name for part in chosen.works)):
            results.append(run(work, chosen.prompts, chosen.stock_cells))
            print({key: round(value, 6) if isinstance(value, float) else value for key, value in results[-1].items()})
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
