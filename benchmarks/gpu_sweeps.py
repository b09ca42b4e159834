"""Sweeps on a GPU: seconds, against TransformerLens's own, and the share of the time in which the GPU works.

python benchmarks/gpu_sweeps.py [--device DEVICE] [--prompts N] [--stock-cells N] [--ours-only] [--budget 256M]

Random weights of two shapes: GPT-2 small's in float32, and Llama 3.2 1B's in bfloat16. One line of JSON for each work.
``--ours-only`` leaves the stock sweeps out, as for an older commit on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from patching import at_end, pairs, stock

from pytest_interp import Checkpoint, CheckpointSpec, Experiment
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.memo import bytes_of
from pytest_interp.measure import patch_effect_sweep


def tokenizer_of(folder: Path | None) -> Any:
    """GPT-2's tokenizer from a folder with ``encoder.json`` and ``vocab.bpe``; SmolLM2's without one."""
    if folder is None:
        return Checkpoint(known_specs()["smollm2-135m-instruct"]).tokenizer
    from transformers import GPT2TokenizerFast

    return GPT2TokenizerFast(vocab=str(folder / "encoder.json"), merges=str(folder / "vocab.bpe"))


def gpt2(tokenizer: Any, device: str) -> Checkpoint:
    """Random weights of GPT-2 small's shape, float32."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), attn_implementation="eager")
    spec = CheckpointSpec("gpt2-shape", loader=lambda: (GPT2LMHeadModel(config).eval(), tokenizer))
    return Checkpoint(spec, device=device)


def llama(tokenizer: Any, device: str) -> Checkpoint:
    """Random weights of the shape of Llama 3.2 1B, bfloat16."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=512, attn_implementation="eager",
    )  # fmt: skip
    spec = CheckpointSpec("llama-1b-shape", loader=lambda: (LlamaForCausalLM(config).eval(), tokenizer))
    return Checkpoint(spec, device=device, dtype="bfloat16")


def timed(checkpoint: Checkpoint, work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a work, and its seconds from an empty memo on."""
    with checkpoint.guard.isolated_memory():
        synchronize(checkpoint.device)
        start = time.perf_counter()
        result = work()
        synchronize(checkpoint.device)
        return result, time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Waits for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def profile(checkpoint: Checkpoint, work: Callable[[], Any]) -> dict[str, Any]:
    """What a work does on a GPU: seconds in kernels, how many of them, and how often the CPU waits for them."""
    if checkpoint.device.type != "cuda":
        return {}
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    with checkpoint.guard.isolated_memory(), profiled(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        work()
        synchronize(checkpoint.device)
    kernels = [event for event in seen.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    counts = {event.key: event.count for event in seen.key_averages()}
    with checkpoint.guard.isolated_memory(), warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        work()
        torch.cuda.set_sync_debug_mode("default")
    return {
        "kernel seconds": sum(event.device_time for event in kernels) / 1e6,
        "kernels": sum(not event.name.startswith("Mem") for event in kernels),
        "launches": counts.get("cudaLaunchKernel", 0) + counts.get("cudaLaunchKernelExC", 0),
        "copies": counts.get("cudaMemcpyAsync", 0),
        "synchronisations": counts.get("cudaStreamSynchronize", 0),
        "waits": sum("synchronizing CUDA operation" in str(warning.message) for warning in waits),
    }


def measured(checkpoint: Checkpoint, name: str, options: argparse.Namespace, at: str | None) -> dict[str, Any]:
    """One sweep over every head's z: ours, its profile, and the stock one on some cells, scaled to all."""
    experiment: Experiment = pairs(checkpoint, options.prompts)
    ours = partial(patch_effect_sweep, experiment, "z", at=at, metric="logit_diff")
    timed(checkpoint, ours)  # kernels are chosen and memory is reserved before the clock starts
    runs = [timed(checkpoint, ours) for _ in range(options.repeat)]
    seconds = statistics.median(duration for _, duration in runs)
    result = {"work": name, "model": checkpoint.name, "ours": seconds, "runs": [duration for _, duration in runs],
              "budget MB": checkpoint.budget / 2**20, **profile(checkpoint, ours)}  # fmt: skip
    if "kernel seconds" in result:
        result["share of GPU work"] = result["kernel seconds"] / seconds
    if not options.ours_only:
        kind = {"setter": at_end} if at else {}
        work = partial(stock, experiment, options.stock_cells, site="z", corruption="s2-exchanged", **kind)
        work()
        (values, total), stock_seconds = timed(checkpoint, work)
        base, table = experiment.logit_diffs("s2-exchanged"), runs[-1][0]
        result["stock"] = stock_seconds * total / len(values)
        result["ratio"] = result["stock"] / seconds
        result["largest difference"] = max(
            float((torch.tensor(table[cell].values) - (stock_values.cpu() - base)).abs().max())
            for cell, stock_values in values.items()
        )
    return result


def main() -> None:
    """Times every work and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--stock-cells", type=int, default=16)
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--budget", help="memory of a batch, such as 256M; the default follows from the device")
    parser.add_argument("--tokenizer", type=Path, help="a folder with GPT-2's encoder.json and vocab.bpe")
    parser.add_argument("--model", default="", help="part of a model's name")
    options = parser.parse_args()
    tokenizer = tokenizer_of(options.tokenizer)
    for load in (gpt2, llama):
        if options.model not in load.__name__:
            continue
        start = time.perf_counter()
        checkpoint = load(tokenizer, options.device)
        if options.budget:
            checkpoint.budget = bytes_of(options.budget)
        print(json.dumps({"model": checkpoint.name, "loaded in": time.perf_counter() - start}), flush=True)
        for name, at in (("z, END", "END"), ("z, all positions", None)):
            try:
                line = measured(checkpoint, name, options, at)
            except RuntimeError as error:  # the other works are worth having
                line = {"work": name, "model": checkpoint.name, "failed": str(error)[:300]}
            rounded = {key: round(value, 7) if isinstance(value, float) else value for key, value in line.items()}
            print(json.dumps(rounded), flush=True)


if __name__ == "__main__":
    sys.exit(main())
