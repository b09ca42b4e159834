"""Checks that a model has the weights of its files, all of them and no others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules import module as registration

from pytest_interp.checkpoints.sources.library_errors import listed
from pytest_interp.checkpoints.sources.weight_files import AGAIN, CONFIG, Stored
from pytest_interp.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

WRAPPED = {
    "_orig_mod.": "torch.compile wrapped the model; save the model inside: model._orig_mod.save_pretrained(DIR)",
    "base_model.model.": "PEFT wrapped the model; merge its adapter: model.merge_and_unload().save_pretrained(DIR)",
    "module.": "DistributedDataParallel wrapped the model; save the model inside: model.module.save_pretrained(DIR)",
}
"""By the prefix of all names: which wrapper the model was saved in, and what to do."""

_MASK = re.compile(r"\.(bias|masked_bias|causal_mask)$")
_SPARE = 2**28
"""How many numbers a model may have beyond those of its files (masks, positions, tied weights): one GB in float32."""


@contextmanager
def no_larger_than(elements: int, tensors: int, owner: str) -> Iterator[None]:
    """Stops the construction of a model that is far larger than its files, before its memory is allocated.

    Args:
        elements: how many numbers the files hold.
        tensors: how many tensors the files hold.
        owner: of the files, for the message.

    Raises:
        UsageError: inside the block, where a larger model is built.
    """
    totals: Counter[str] = Counter()

    def count(_module: Any, _name: str, tensor: Tensor | None) -> None:
        if tensor is None or not tensor.is_meta:
            return  # a weight that was read from a file
        totals.update(elements=tensor.numel(), tensors=1)
        # Twice, because a model has tied weights twice; four times, because files fuse tensors that models split.
        if totals["elements"] > 2 * elements + _SPARE or totals["tensors"] > 4 * tensors + 1000:
            raise UsageError(
                f"{owner}: {CONFIG} describes a model with more than {totals['elements']:,} numbers, its files hold "
                f"{elements:,}; pass the {CONFIG} that was saved with these weights"
            )

    handles = (
        registration.register_module_parameter_registration_hook(count),
        registration.register_module_buffer_registration_hook(count),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_agreement(model: Any, loading: Mapping[str, Any], stored: Mapping[str, Stored], owner: str) -> None:
    """Accepts a model that has all tensors of its files, and no others.

    Args:
        model: as transformers loaded it.
        loading: transformers' report on the loading.
        stored: the tensors of the files by name.
        owner: of the files, for the message.

    Raises:
        UsageError: tensors are missing, left over, of another shape, or no floating-point numbers.
    """
    missing = sorted(loading["missing_keys"])
    extra = sorted(name for name in loading["unexpected_keys"] if not _is_mask(stored.get(name), name))
    for prefix, advice in WRAPPED.items():
        wrapped = [name for name in stored if name.startswith(prefix)]
        if missing and wrapped:
            raise UsageError(f"{owner}: {len(wrapped)} of its {len(stored)} tensors begin with {prefix!r}: {advice}")
    problems = [
        f"lack {listed(missing)}" if missing else "",
        f"hold {listed(extra)}, which {type(model).__name__} does not have" if extra else "",
        _other_shapes(loading["mismatched_keys"]),
        *_unfit(model, stored),
        *map(str, loading.get("error_msgs", ())),
    ]
    if any(problems):
        raise UsageError(
            f"{owner}: the files of its weights {', and '.join(filter(None, problems))}; nothing is claimed of weights "
            f"that were drawn at random or left out. {AGAIN[0].upper()}{AGAIN[1:]}"
        )


def _other_shapes(mismatched: Any) -> str:
    """The tensors whose shape in the file is not that of the configuration, for the message."""
    shapes = [f"{name} ({list(file)}, by {CONFIG} {list(model)})" for name, file, model in sorted(mismatched)]
    return f"have other shapes: {listed(shapes)}" if shapes else ""


def _unfit(model: Any, stored: Mapping[str, Stored]) -> list[str]:
    """Problems that transformers does not report: two tensors for one weight, and integers for weights."""
    base = f"{model.base_model_prefix}."
    bare = [name.removeprefix(base) for name in stored]
    duplicates = sorted(name for name, count in Counter(bare).items() if count > 1)
    problems = [f"hold {listed(duplicates)} with and without {base!r}"] if duplicates else []
    if getattr(model.config, "quantization_config", None) is None:
        weights = {name.removeprefix(base) for name, _ in model.named_parameters(remove_duplicate=False)}
        integers = [
            f"{name} ({stored[name].dtype})"
            for name in sorted(stored)
            if name.removeprefix(base) in weights and not stored[name].dtype.startswith(("F", "BF"))
        ]
        problems += [f"hold {listed(integers)}, no floating-point numbers"] if integers else []
    return problems


def _is_mask(tensor: Stored | None, name: str) -> bool:
    """Whether a tensor is a causal mask or its fill value: older versions of transformers saved them too."""
    if tensor is None or not _MASK.search(name):
        return False
    shape = tensor.shape
    return tensor.size == 1 or (len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3])


def check_present(model: torch.nn.Module, owner: str) -> None:
    """Accepts a model whose weights have values.

    Args:
        model: whose parameters are checked.
        owner: of the weights, for the message.

    Raises:
        UsageError: some are on the meta device.
    """
    if empty := [name for name, weight in _parameters(model) if weight.is_meta]:
        raise UsageError(f"{owner}: {listed(empty)} on the meta device, where weights have no values; load them first")


def check_finite(model: torch.nn.Module, owner: str) -> None:
    """Accepts a model whose weights are finite.

    Args:
        model: whose parameters are checked.
        owner: of the weights, for the message.

    Raises:
        UsageError: NaN or infinite weights; the message names some.
    """
    # A sum is ten times as fast as a check of each number; where it overflows each number is checked.
    suspects = [(name, weight) for name, weight in _parameters(model) if not weight.sum(dtype=_wide(weight)).isfinite()]
    if broken := [name for name, weight in suspects if not weight.isfinite().all()]:
        dtype = str(suspects[0][1].dtype).removeprefix("torch.")
        raise UsageError(
            f"{owner}: NaN or infinite weights in {listed(broken)} as {dtype}; check the run that saved them, or pass "
            "--interp-dtype float32 if they are beyond the range of another"
        )


def _parameters(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters by their names in the raw model, also where a bridge has wrapped it."""
    for name, weight in model.named_parameters():
        yield name.replace("_original_component.", ""), weight


def _wide(weight: Tensor) -> torch.dtype:
    """The dtype in which a weight is summed."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32
