"""How prompts differ, by template, answer, distractor: ``python benchmarks/spread.py [CHECKPOINT] [--write]``.

Each quantity of the published claims is measured on a real model that is at hand, and the variance between its prompts
is divided between templates, answers, distractors and the rest. The chances of ``chance.py`` use these shares, and the
standard deviation relative to the mean where no source prints one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np

from pytest_interp import Checkpoint, Experiment
from pytest_interp import measure as m
from pytest_interp.checkpoints import known_specs, resolve
from pytest_interp.heads import as_head
from pytest_interp.measurement import Measurement
from pytest_interp.tasks import ioi

FILE = Path(__file__).with_name("spread.json")
PROMPTS = 240
MOVERS, SUPPRESSOR = ["23.0", "23.2", "23.1"], "23.3"


def quantities(on: Experiment) -> Mapping[str, Callable[[], Measurement]]:
    """Each quantity and how it is measured: on SmolLM2, on its strongest name mover, on a head that suppresses S."""
    mover = MOVERS[0]
    # Without a circuit that is known as a whole: the heads of the second two thirds do most of the task.
    circuit = [head for head in on.checkpoint.shape.heads if 3 * head.layer >= on.checkpoint.shape.n_layers]
    return {
        "logit_diff": lambda: m.logit_diff(on),
        "logit_diff abc": lambda: m.logit_diff(on, run="abc"),
        "accuracy": lambda: m.accuracy(on),
        "probability": lambda: m.next_token(on, "probability"),
        "attention to IO": lambda: m.attention(on, mover, at="END", to="IO"),
        "attention to IO minus S1": lambda: m.attention(on, mover, at="END", to="IO", minus=("S1",)),
        "attention to S2": lambda: m.attention(on, SUPPRESSOR, at="END", to="S2"),
        "attention_write_correlation": lambda: m.attention_write_correlation(on, mover),
        "prompt_copy_score": lambda: m.prompt_copy_score(on, mover),
        "direct_logit_attribution": lambda: m.direct_logit_attribution(on, mover),
        "source_attribution": lambda: m.source_attribution_sweep(on, "IO")[as_head(mover)],
        "head_patch_effect": lambda: m.head_patch_effect(
            on, SUPPRESSOR, at="END", direction="noise", metric="logit_diff"
        ),
        "path_patch_effect": lambda: m.path_patch_effect(on, SUPPRESSOR, "24.4", into="q", metric="of_clean"),
        "ablation_effect": lambda: m.ablation_effect(on, MOVERS),
        "faithfulness": lambda: m.faithfulness(on, circuit, metric="logit_diff"),
        "faithfulness of model": lambda: m.faithfulness(on, circuit),
        "minimality": lambda: m.minimality(on, mover, circuit, metric="logit_diff"),
        "completeness": lambda: m.completeness(on, circuit, knocked_out=MOVERS),
    }


def spread_of(measurement: Measurement) -> Mapping[str, float]:
    """Mean, standard deviation between prompts, and which share of the variance templates and names have.

    The product of two prompts' residuals is on average the variance of what the two have in common (least squares over
    all pairs of prompts, an intercept for the mean that was taken off). A negative share counts as 0.
    """
    values = np.asarray(measurement.linear_values)
    rest = values - values.mean()
    first, second = np.array(list(combinations(range(len(values)), 2))).T
    kinds = [np.array(kind) for kind in (measurement.clusters, *zip(*measurement.names, strict=True))]
    design = np.stack([np.ones(len(first)), *(kind[first] == kind[second] for kind in kinds)], 1)
    covariances = np.linalg.lstsq(design, rest[first] * rest[second], rcond=None)[0][1:]
    shares = np.clip(covariances / max(values.var(ddof=1), 1e-30), 0, None)
    shares /= max(1.0, shares.sum() / 0.95)
    row = {"mean": measurement.value, "sd": values.std(ddof=1)}
    row |= dict(zip(("template", "answer", "distractor"), shares, strict=True))
    return {key: round(float(value), 4) for key, value in row.items()}


def main() -> None:
    """Prints a line for each quantity; writes them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name}")
    options = parser.parse_args()
    checkpoint = Checkpoint(resolve(options.checkpoint, known_specs()))
    data = ioi(checkpoint.tokenizer, half="confirm", n=PROMPTS, seed=1, bos=checkpoint.bos)
    spreads = {}
    for name, measurement in quantities(Experiment(checkpoint, data)).items():
        spreads[name] = spread_of(measurement())
        print(name, spreads[name], flush=True)
    if options.write:
        table = {"checkpoint": options.checkpoint, "prompts": PROMPTS, "quantities": spreads}
        FILE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
