"""A circuit from the heads that several searches proposed: chosen on a fresh draw of prompts, confirmed on another.

``python benchmarks/agreed_circuit.py FILE FILE ...`` reads circuit files that ``pytest-interp discover`` wrote on
different draws. It begins with all of their heads at every position, on prompts of the finding half that no search has
used, and takes out one head at a time: of those that an estimate puts first, the one that leaves the set nearest to the
model. Of the sets with at most ``--most`` heads the nearest one is chosen. It alone is asked of the confirming half,
beside the heads that all files have, and those that any has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from pytest_interp import load  # noqa: E402
from pytest_interp.circuit import EVERYWHERE  # noqa: E402
from pytest_interp.circuit_file import load_circuit  # noqa: E402
from pytest_interp.discover.budget import Budget  # noqa: E402
from pytest_interp.discover.circuit_text import measured  # noqa: E402
from pytest_interp.discover.fit import Fit, fit_of  # noqa: E402
from pytest_interp.discover.search import Search  # noqa: E402
from pytest_interp.engine import Experiment  # noqa: E402
from pytest_interp.heads import Head, names_of  # noqa: E402
from pytest_interp.measure.places import (  # noqa: E402
    MEAN,
    Place,
    breaking_corruption,
    circuit_scores,
    heads_of,
)
from pytest_interp.tasks.named import task_of  # noqa: E402
from pytest_interp.tasks.slots import Half  # noqa: E402

TRIED = 10
"""Heads of which each is taken out by an exact pass, at each step."""
AROUND_ONE = (0.93, 1.07)
"""The ratio of means that a set keeps on the way, where one of the tried sets does."""
LEAST = 15
"""Heads of the smallest set."""


def shown(fit: Fit) -> str:
    """Faithfulness with its interval, and the distance on single prompts."""
    return f"{measured(fit.faithfulness)}, distance {fit.distance:.3f}"


def smaller_sets(search: Search) -> dict[int, tuple[frozenset[Place], Fit]]:
    """The sets on the way from all heads to few, by their number of heads."""
    sets = {len(search.places): (search.places, search.fit)}
    while len(search.places) > LEAST:
        candidates = [search.places - {place} for place in search.order()[:TRIED]]
        fits = list(zip(candidates, search.fits(candidates), strict=True))
        low, high = AROUND_ONE
        near_one = [(places, fit) for places, fit in fits if low <= fit.faithfulness.value <= high]
        places, fit = min(near_one or fits, key=lambda candidate: candidate[1].distance)
        without = heads_of(search.places - places)
        search.move(places, fit)
        sets[len(places)] = search.places, search.fit
        print(f"{len(places)} heads, without {names_of(without)}: {shown(fit)}", flush=True)
    return sets


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--prompts", type=int, default=160, help="of the finding half")
    parser.add_argument("--confirm-prompts", type=int, default=240)
    parser.add_argument("--seed", type=int, default=2, help="of a draw that no search has used")
    parser.add_argument("--most", type=int, default=20, help="heads that the chosen set may have")
    options = parser.parse_args(arguments)
    circuits = [load_circuit(path) for path in options.files]
    if len({(circuit.checkpoint, circuit.task) for circuit in circuits}) > 1:
        parser.error("the files are about different checkpoints or tasks; pass those of one checkpoint and task")
    checkpoint, task = load(circuits[0].checkpoint), task_of(circuits[0].task)

    def experiment(half: Half, n: int) -> Experiment:
        data = task.draw(checkpoint.tokenizer, half=half, n=n, seed=options.seed, bos=checkpoint.bos)
        return Experiment(checkpoint, data, seed=options.seed)

    heads = [circuit.heads for circuit in circuits]
    union, intersection = sorted(frozenset.union(*heads)), sorted(frozenset.intersection(*heads))
    print(f"{len(union)} heads of any file, {len(intersection)} of all: {names_of(intersection)}", flush=True)
    others = [head for head in checkpoint.shape.heads if head not in union]
    search = Search(experiment("find", options.prompts), Budget(), 1.0, others)
    print(f"{len(union)} heads: {shown(search.fit)}", flush=True)
    sets = smaller_sets(search)
    chosen, _ = min((sets[count] for count in sets if count <= options.most), key=lambda option: option[1].distance)
    print(f"chosen on the finding half, {len(chosen)} heads: {names_of(heads_of(chosen))}", flush=True)
    confirming = experiment("confirm", options.confirm_prompts)
    asked: dict[str, Collection[Place]] = {
        f"the chosen {len(chosen)}": chosen,
        f"the {len(intersection)} of all files": everywhere(intersection),
        f"the {len(union)} of any file": everywhere(union),
    }
    for ablation in filter(None, (MEAN, breaking_corruption(confirming))):
        words = "the mean" if ablation == MEAN else f"z of {ablation}"
        scores = circuit_scores(confirming, list(asked.values()), ablation=ablation)
        for name, alone in zip(asked, scores, strict=True):
            print(f"confirming half, {words} outside, {name}: {shown(fit_of(confirming, alone))}", flush=True)


def everywhere(heads: Sequence[Head]) -> list[Place]:
    """Heads at every position."""
    return [Place(head, EVERYWHERE) for head in heads]


if __name__ == "__main__":
    main()
