"""Makes two series of checkpoints, judges them, and prints the tables: ``python benchmarks/series.py FOLDER``.

- ``planted``: planted-ioi with growing noise on all weights. At 0 every claim holds by construction.
- ``smollm2``: SmolLM2 with the heads of its circuit at shares 0 to 100 % between a new initialisation and the trained
  weights (rows of q, columns of o; the key-value heads, which other heads share, stay). All other weights are trained.

FOLDER/NAME/ has the ledgers; a second call measures nothing that is there. The figures go to docs/pictures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_interp import CheckpointSpec
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.planted.build import Plan, build_planted
from pytest_interp.checkpoints.planted.rules import RULES
from pytest_interp.circuit_file import load_circuit
from pytest_interp.cli import main as command
from pytest_interp.heads import Head

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
SMOLLM2 = "smollm2-135m-instruct"
NOISE = (0, 0.01, 0.02, 0.03, 0.04, 0.06)
"""Standard deviation of the noise on every weight, beside the unit weights of the rules."""
TRAINED = (0, 20, 40, 60, 80, 100)
"""Share of the trained weights in the heads of the circuit, in percent."""


class Models:
    """A plugin that brings in the checkpoints of a series."""

    def __init__(self, specs: list[CheckpointSpec]) -> None:
        self.specs = specs

    def pytest_interp_checkpoints(self) -> list[CheckpointSpec]:
        """Returns the checkpoints."""
        return self.specs


def planted(folder: Path) -> Iterator[CheckpointSpec]:
    """The planted model with each noise."""
    for noise in NOISE:
        plan = Plan(RULES, noise=noise, live=noise)
        yield CheckpointSpec(f"planted-ioi@noise-{noise:g}", loader=partial(build_planted, plan, folder), bos=True)


def smollm2() -> Iterator[CheckpointSpec]:
    """SmolLM2 with each share of the trained weights in the heads of its circuit."""
    spec = known_specs()[SMOLLM2]
    heads = load_circuit(ROOT / "claims" / "circuits" / f"{SMOLLM2}.toml").listed
    for percent in TRAINED:
        loader = partial(interpolated, spec, heads, percent / 100)
        yield CheckpointSpec(f"{SMOLLM2}@trained-{percent}", loader=loader, bos=spec.bos)


def interpolated(spec: CheckpointSpec, heads: frozenset[Head], share: float) -> tuple[Any, Any]:
    """Loads SmolLM2 and moves heads toward a new initialisation.

    Args:
        spec: of SmolLM2.
        heads: that are moved.
        share: of the trained weights, in [0, 1].

    Returns:
        The transformers model and its tokenizer.
    """
    import torch

    from pytest_interp.checkpoints.sources.model import load_transformers

    model, tokenizer = load_transformers(spec, torch.float32)
    width = model.config.hidden_size // model.config.num_attention_heads
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for head in sorted(heads):
            attention = model.model.layers[head.layer].self_attn
            part = slice(head.head * width, (head.head + 1) * width)
            for weights in (attention.q_proj.weight[part], attention.o_proj.weight[:, part]):
                new = torch.randn(weights.shape, generator=generator) * model.config.initializer_range
                weights.mul_(share).add_((1 - share) * new)
    return model, tokenizer


def judged(specs: list[CheckpointSpec], folder: Path, *arguments: str) -> None:
    """Runs claims on the checkpoints of a series; what pytest prints goes to a file beside the ledgers."""
    models = [text for spec in specs for text in ("--interp-model", spec.name)]
    line = [str(ROOT / "claims" / "ioi"), "-q", "-p", "no:cacheprovider", "--interp-ledger", f"{folder}/"]
    start = time.perf_counter()
    with (folder / "pytest.txt").open("w") as file, redirect_stdout(file):
        pytest.main([*line, *models, *arguments], plugins=[Models(specs)])
    print(f"{folder.name}: {len(specs)} checkpoints in {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    """Makes, judges and shows the series that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where ledgers go")
    parser.add_argument("--only", choices=("planted", "smollm2"), help="one of the two series")
    options = parser.parse_args()
    if options.only is None:
        for name in ("planted", "smollm2"):  # pytest runs once in a process
            subprocess.run([sys.executable, __file__, str(options.folder), "--only", name], check=True)
        return
    folder = (options.folder / options.only).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if options.only == "planted":
        judged(list(planted(folder / "tokenizer")), folder, "--interp-quick", "--interp-prompts", "48")
    else:
        judged(list(smollm2()), folder, "--interp-quick")
    paths = [str(path) for path in sorted(folder.glob("*.json"))]
    reference = ["--reference", "noise-0"] if options.only == "planted" else []
    picture = PICTURES / f"series{'-planted' * (options.only == 'planted')}.png"
    command(["series", *paths, *reference, "--figure", str(picture)])


if __name__ == "__main__":
    main()
