"""What drift says of variants of SmolLM2: ``python benchmarks/drift.py [--prompts N] [--only NAME ...]``.

Each variant is SmolLM2 with its weights changed: noise of several sizes, the weights of one head of the circuit zeroed,
two heads exchanged before the output projection, and weights rounded to bfloat16, 8 and 4 bits. The quick claims run on
SmolLM2 and on each of them, one model in memory at a time; the table says which findings hold, and how long it took.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from pytest_interp.checkpoints.spec import CheckpointSpec, known_specs  # noqa: E402
from pytest_interp.compare.drift import Drift  # noqa: E402

BASELINE = "smollm2-135m-instruct"
STATISTICS = ("transfer faithfulness", "effects: weighted Jaccard", "effects: Spearman")
"""Columns of the table beside accuracy: likeness is that of the vectors of patching effects."""
Change = Callable[[Any], None]
"""Changes a transformers model in place."""


def noise(share: float, model: Any) -> None:
    """Adds normal noise to each matrix, of a share of its standard deviation."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.add_(share * parameter.std() * torch.randn(parameter.shape, generator=generator))


def zeroed(layer: int, head: int, model: Any) -> None:
    """Zeroes what a head writes."""
    width = model.config.head_dim
    model.model.layers[layer].self_attn.o_proj.weight[:, head * width : (head + 1) * width] = 0


def exchanged(layer: int, first: int, second: int, model: Any) -> None:
    """Exchanges the columns of the output projection that two heads write through."""
    width = model.config.head_dim
    weight = model.model.layers[layer].self_attn.o_proj.weight
    parts = [slice(head * width, (head + 1) * width) for head in (first, second)]
    weight[:, parts[0]], weight[:, parts[1]] = weight[:, parts[1]].clone(), weight[:, parts[0]].clone()


def rounded(bits: int, model: Any) -> None:
    """Rounds each row of each matrix to so many bits, symmetric around 0, by its largest weight."""
    for parameter in model.parameters():
        if parameter.ndim == 2:
            step = parameter.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
            parameter.copy_((parameter / step).round() * step)


def halved(model: Any) -> None:
    """Rounds each weight to bfloat16."""
    import torch

    for parameter in model.parameters():
        parameter.copy_(parameter.to(torch.bfloat16).float())


VARIANTS: Mapping[str, tuple[str, Change]] = {
    "noise-0.01": ("noise, 1 % of each matrix's standard deviation", partial(noise, 0.01)),
    "noise-0.05": ("noise, 5 %", partial(noise, 0.05)),
    "noise-0.1": ("noise, 10 %", partial(noise, 0.1)),
    "noise-0.2": ("noise, 20 %", partial(noise, 0.2)),
    "without-23.3": ("23.3 zeroed", partial(zeroed, 23, 3)),
    "exchanged": ("23.0 and 23.4 exchanged before the output projection", partial(exchanged, 23, 0, 4)),
    "bfloat16": ("weights rounded to bfloat16", halved),
    "8-bit": ("weights rounded to 8 bits by row", partial(rounded, 8)),
    "4-bit": ("weights rounded to 4 bits by row", partial(rounded, 4)),
}
"""What each variant is, and the change that makes it."""


def pytest_interp_checkpoints() -> list[CheckpointSpec]:
    """The variants: this file is a plugin of the runs that it starts."""
    return [CheckpointSpec(name, loader=partial(load, change), bos=False) for name, (_, change) in VARIANTS.items()]


def load(change: Change) -> tuple[Any, Any]:
    """SmolLM2 with a change, and its tokenizer."""
    import torch

    from pytest_interp.checkpoints.sources.model import load_transformers

    model, tokenizer = load_transformers(known_specs()[BASELINE], torch.float32)
    with torch.no_grad():
        change(model)
    return model, tokenizer


def main() -> None:
    """Prints the table, and the drift of each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=96, help="in each half")
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    from pytest_interp.compare.drift import drift
    from pytest_interp.ledger.ledger import read
    from pytest_interp.report.drift import sentence, terminal

    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        baseline = run(BASELINE, Path(folder), options.prompts)
        seconds = time.monotonic() - start
        header = ["variant", "what became of its findings", "accuracy", *STATISTICS, "s"]
        print(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}", flush=True)
        reports: list[str] = []
        for name in options.only:
            start = time.monotonic()
            result = drift(
                read(baseline), read(run(name, Path(folder), options.prompts, "--interp-baseline", str(baseline)))
            )
            if not reports:
                print(f"| {' | '.join(['floor', '', *cells(result, floor=True), f'{seconds:.0f}'])} |", flush=True)
            cut = [*cells(result, floor=False), f"{time.monotonic() - start:.0f}"]
            print(f"| {' | '.join([VARIANTS[name][0], sentence(result), *cut])} |", flush=True)
            reports.append("\n".join(line.text for line in terminal(result)))
    print("\n\n".join(["", *reports]))


def cells(result: Drift, *, floor: bool) -> list[str]:
    """Accuracy, transfer faithfulness and likeness of effects of a variant, or their floors."""
    circuit = result.circuit
    if circuit is None or circuit.transfer is None:
        return ["-"] * (1 + len(STATISTICS))
    shifts = (circuit.capability[1], circuit.transfer)
    numbers = [shift.floor if floor else shift.after for shift in shifts]
    numbers += [likeness.floor if floor else likeness.value for likeness in circuit.likeness]
    return ["-" if number is None else f"{number:.3f}" for number in numbers]


def run(name: str, folder: Path, prompts: int, *more: str) -> Path:
    """Runs the quick claims on a checkpoint; returns its ledger."""
    ledger = folder / f"{name}.json"
    command = [sys.executable, "-m", "pytest", str(ROOT / "claims"), "--interp-quick", "--interp-model", name]
    command += ["--interp-ledger", str(ledger), "--interp-prompts", str(prompts), "-p", "benchmarks.drift"]
    command += ["--interp-profile", "-p", "no:cacheprovider", "-q", *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if not ledger.exists():
        raise SystemExit(f"{name}: no ledger was written\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
    return ledger


if __name__ == "__main__":
    main()
