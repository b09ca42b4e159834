"""Mistakes of a refactor, put into code and not into weights: which sizes does a comparison of two runs see?

``python benchmarks/refactor.py [--model NAME]``: pins the quick claims in a ledger, runs them again with each mistake
at several sizes, and compares. A table says what was seen: verdicts that turned, numbers that moved, or nothing. The
largest size is also run with a cache that a run without mistake has filled. The mistakes replace functions of
transformers and TransformerLens, for models of the Llama kind.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from pytest_interp.compare.comparison import Comparison, compare  # noqa: E402
from pytest_interp.ledger.ledger import read  # noqa: E402

VARIABLE = "INTERP_MISTAKE"
"""Name and size of the mistake, such as ``rope 0.005``, for the process of a run."""


def rope(share: float) -> None:
    """Rotates by angles that are larger by a share."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    original = LlamaRotaryEmbedding.forward

    def forward(self: Any, x: Any, position_ids: Any) -> Any:
        return original(self, x, position_ids * (1 + share))

    LlamaRotaryEmbedding.forward = forward  # type: ignore[method-assign]


def epsilon(value: float) -> None:
    """Norms add this value to the mean square; right is 1e-5."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    original = LlamaRMSNorm.__init__

    def initialise(self: Any, hidden_size: int, eps: float = value) -> None:  # noqa: ARG001
        original(self, hidden_size, value)

    LlamaRMSNorm.__init__ = initialise  # type: ignore[method-assign]


def exchange(share: float) -> None:
    """Exchanges a share of z of heads 0 and 1 of each layer before the output projection."""
    from transformer_lens.model_bridge.generalized_components import PositionEmbeddingsAttentionBridge
    from transformers.models.llama import modeling_llama

    original = modeling_llama.eager_attention_forward

    def exchanged(z: Any) -> Any:
        """Of z as (row, position, head, dimension)."""
        difference = share * (z[:, :, 1] - z[:, :, 0])
        z = z.clone()
        z[:, :, 0] += difference
        z[:, :, 1] -= difference
        return z

    def in_transformers(*arguments: Any, **named: Any) -> Any:
        z, pattern = original(*arguments, **named)
        return exchanged(z), pattern

    def in_bridge(self: Any, z: Any) -> Any:
        return exchanged(z.view(*z.shape[:2], self.config.n_heads, -1)).reshape(z.shape)

    modeling_llama.eager_attention_forward = in_transformers
    PositionEmbeddingsAttentionBridge._pre_output_projection = in_bridge  # type: ignore[method-assign]


def mask(layers: float) -> None:
    """Shifts the causal mask of so many layers, the last ones, by one: each position sees the next one too."""
    from transformer_lens.model_bridge.generalized_components import PositionEmbeddingsAttentionBridge
    from transformers.models.llama import modeling_llama

    in_module = modeling_llama.eager_attention_forward
    kind = PositionEmbeddingsAttentionBridge
    in_scores = kind._apply_reconstruct_attention_mask

    def shifted(attention: Any, given: Any) -> Any:
        if given is None or attention.layer_idx < attention.config.num_hidden_layers - layers:
            return given
        moved = given.roll(1, -1)
        moved[..., 0] = given[..., 0]
        return moved

    def in_transformers(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, *more: Any, **named: Any
    ) -> Any:
        return in_module(module, query, key, value, shifted(module, attention_mask), *more, **named)

    def in_bridge(self: Any, attn_scores: Any, attention_mask: Any, seq_len: int, q_seq_len: int | None = None) -> Any:
        return in_scores(self, attn_scores, shifted(self.original_component, attention_mask), seq_len, q_seq_len)

    modeling_llama.eager_attention_forward = in_transformers
    kind._apply_reconstruct_attention_mask = in_bridge  # type: ignore[method-assign]


MISTAKES: dict[str, tuple[Callable[[float], None], str, tuple[float, ...]]] = {
    "rope": (rope, "RoPE angles larger by a share", (5e-3, 5e-4, 5e-5, 5e-6)),
    "epsilon": (epsilon, "epsilon of norms, which is 1e-5", (1e-3, 1e-4, 2e-5, 1.1e-5)),
    "exchange": (exchange, "share of z exchanged between heads 0 and 1", (1.0, 0.1, 0.01, 0.001)),
    "mask": (mask, "last layers whose causal mask is shifted by one", (30, 10, 2)),
}
"""The function that makes each mistake, what its size is, and the sizes, largest first."""


def pytest_configure() -> None:
    """Makes the mistake that the environment names: this file is a plugin of the runs that it starts."""
    if mistake := os.environ.get(VARIABLE):
        name, size = mistake.split()
        MISTAKES[name][0](float(size))


# ---- runs


def run(model: str, ledger: Path, mistake: str = "", cache: Path | None = None) -> None:
    """Runs the quick claims on a model, and writes their ledger.

    Args:
        model: its name.
        ledger: the file.
        mistake: name and size; empty for code as it is.
        cache: a folder of cached measurements; None without.
    """
    command = [sys.executable, "-m", "pytest", str(ROOT / "claims"), "--interp-quick", "--interp-model", model]
    command += ["--interp-ledger", str(ledger), "-p", "benchmarks.refactor", "-p", "no:cacheprovider", "-q"]
    command += ["--interp-cache", str(cache)] if cache else []
    environment = {**os.environ, VARIABLE: mistake, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if not ledger.exists():
        raise SystemExit(f"{mistake}: no ledger was written\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")


def seen(comparison: Comparison) -> str:
    """What a comparison shows, in a few words."""
    counts = comparison.counts
    parts = [f"{counts[change]} {change}" for change in ("turned", "moved") if counts[change]]
    furthest = max((pair.share for pair in comparison.pairs), default=0.0)
    return ", ".join(parts) or f"nothing ({furthest:.2g} of what it may)"


def table(model: str) -> None:
    """Prints the rows of a table in Markdown, as they are measured."""
    with tempfile.TemporaryDirectory() as folder:
        pinned, cache = Path(folder) / "before.json", Path(folder) / "cache"
        run(model, pinned)
        run(model, Path(folder) / "fills.json", cache=cache)
        before = read(pinned)
        print(f"| mistake | size | of {len(before.claims)} claims | with a filled cache |\n| --- | --- | --- | --- |")
        for name, (_, meaning, sizes) in MISTAKES.items():
            for size in sizes:
                after = Path(folder) / f"{name}-{size}.json"
                run(model, after, f"{name} {size}")
                cells = [meaning, f"{size:g}", seen(compare(before, read(after))), ""]
                if size == sizes[0]:
                    cached = Path(folder) / f"{name}-cached.json"
                    run(model, cached, f"{name} {size}", cache)
                    cells[-1] = seen(compare(before, read(cached)))
                print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    table(parser.parse_args().model)


if __name__ == "__main__":
    main()
