"""Whether a model has the weights that its files hold, all of them and nothing else."""

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
"""What a prefix of all names says, and what to do."""

_MASK = re.compile(r"\.(bias|masked_bias|causal_mask)$")
_SPARE = 2**28
"""Numbers that a model may have beyond those of its files: masks, positions and tied weights, in memory a GB."""


@contextmanager
def no_larger_than(elements: int, tensors: int, what: str) -> Iterator[None]:
    """Stops the building of a model that is far larger than its files, before it has memory.

    Args:
        elements: numbers in the files.
        tensors: tensors in the files.
        what: whose files, for the message.

    Raises:
        UsageError: from within, where a model is larger.
    """
    seen: Counter[str] = Counter()

    def count(_module: Any, _name: str, tensor: Tensor | None) -> None:
        if tensor is None or not tensor.is_meta:
            return  # a weight that was read from a file
        seen.update(elements=tensor.numel(), tensors=1)
        # Twice, because tied weights are counted where they stand; four times, because files fuse what models split.
        if seen["elements"] > 2 * elements + _SPARE or seen["tensors"] > 4 * tensors + 1000:
            raise UsageError(
                f"{what}: {CONFIG} describes a model with more than {seen['elements']:,} numbers, its files hold "
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


def check_agreement(model: Any, loading: Mapping[str, Any], stored: Mapping[str, Stored], what: str) -> None:
    """Accepts a model each of whose tensors comes from the files, and of whose files each tensor is in the model.

    Args:
        model: as transformers loaded it.
        loading: what transformers says of the loading.
        stored: what the files hold.
        what: whose files, for the message.

    Raises:
        UsageError: tensors are missing, of another shape or no floating-point numbers, or there are more.
    """
    missing = sorted(loading["missing_keys"])
    more = sorted(name for name in loading["unexpected_keys"] if not _is_mask(stored.get(name), name))
    for prefix, advice in WRAPPED.items():
        wrapped = [name for name in stored if name.startswith(prefix)]
        if missing and wrapped:
            raise UsageError(f"{what}: {len(wrapped)} of its {len(stored)} tensors begin with {prefix!r}: {advice}")
    problems = [
        f"lack {listed(missing)}" if missing else "",
        f"hold {listed(more)}, which {type(model).__name__} does not have" if more else "",
        _other_shapes(loading["mismatched_keys"]),
        *_unfit(model, stored),
        *map(str, loading.get("error_msgs", ())),
    ]
    if any(problems):
        raise UsageError(
            f"{what}: the files of its weights {', and '.join(filter(None, problems))}; nothing is claimed of weights "
            f"that were drawn at random or left out. {AGAIN[0].upper()}{AGAIN[1:]}"
        )


def _other_shapes(mismatched: Any) -> str:
    shapes = [f"{name} ({list(file)}, by {CONFIG} {list(model)})" for name, file, model in sorted(mismatched)]
    return f"have other shapes: {listed(shapes)}" if shapes else ""


def _unfit(model: Any, stored: Mapping[str, Stored]) -> list[str]:
    """What the loading does not say: two tensors for the same weight, and whole numbers for weights."""
    base = f"{model.base_model_prefix}."
    bare = [name.removeprefix(base) for name in stored]
    twice = sorted(name for name, count in Counter(bare).items() if count > 1)
    problems = [f"hold {listed(twice)} with and without {base!r}"] if twice else []
    if getattr(model.config, "quantization_config", None) is None:
        weights = {name.removeprefix(base) for name, _ in model.named_parameters(remove_duplicate=False)}
        whole = [
            f"{name} ({stored[name].dtype})"
            for name in sorted(stored)
            if name.removeprefix(base) in weights and not stored[name].dtype.startswith(("F", "BF"))
        ]
        problems += [f"hold {listed(whole)}, no floating-point numbers"] if whole else []
    return problems


def _is_mask(tensor: Stored | None, name: str) -> bool:
    """Whether a tensor is a causal mask or its fill value, which older versions saved with the weights."""
    if tensor is None or not _MASK.search(name):
        return False
    return tensor.size == 1 or (len(tensor.shape) == 4 and tensor.shape[:2] == (1, 1) and _square(tensor.shape[2:]))


def _square(shape: tuple[int, ...]) -> bool:
    return shape[0] == shape[1]


def check_present(model: torch.nn.Module, what: str) -> None:
    """Accepts weights that have values.

    Raises:
        UsageError: some are on the meta device.
    """
    if empty := [name for name, weight in _parameters(model) if weight.is_meta]:
        raise UsageError(f"{what}: {listed(empty)} on the meta device, where weights have no values; load them first")


def check_finite(model: torch.nn.Module, what: str) -> None:
    """Accepts weights that are all numbers.

    Args:
        model: whose parameters are looked at.
        what: whose weights, for the message.

    Raises:
        UsageError: NaN or infinite weights; it names some.
    """
    # A sum is ten times as fast as a look at each number; one that overflows is looked at again.
    suspects = [(name, weight) for name, weight in _parameters(model) if not weight.sum(dtype=_wide(weight)).isfinite()]
    if broken := [name for name, weight in suspects if not weight.isfinite().all()]:
        raise UsageError(
            f"{what}: NaN or infinite weights in {listed(broken)} as {str(suspects[0][1].dtype).removeprefix('torch.')}"
            "; check the run that saved them, or pass --interp-dtype float32 if they are beyond the range of another"
        )


def _parameters(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters by their names in the model, though a bridge has wrapped it."""
    for name, weight in model.named_parameters():
        yield name.replace("_original_component.", ""), weight


def _wide(weight: Tensor) -> torch.dtype:
    return torch.float64 if weight.dtype == torch.float64 else torch.float32
