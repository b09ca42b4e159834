"""The reference prompts of a listed task: mean and resample ablation take replacement activations from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pytest_interp.errors import UsageError, nearest
from pytest_interp.tasks.dataset import DataSet
from pytest_interp.text import shown

Entry = TypeVar("Entry")
"""A prompt: its text, or its token ids."""


def reference_prompts(
    clean: Sequence[tuple[str, Entry]],
    reference: Mapping[str, Sequence[Entry]] | Sequence[Entry] | None,
    length_of: Callable[[Entry], int],
) -> list[tuple[str, Entry]]:
    """The reference prompts of each template; they have the token length of the template's clean prompts.

    Args:
        clean: template and prompt (a text, or token ids) of each clean prompt.
        reference: prompts by template; or one list, from which each template takes the prompts of its own length; or
            None.
        length_of: gives the token length of a prompt.

    Returns:
        Template and prompt of each reference prompt; an empty list if ``reference`` is None.

    Raises:
        UsageError: a template of several lengths, without reference prompts, or with one of another length.

    Example:
        >>> reference_prompts([("A", "a b"), ("B", "a b c")], ["d e", "f g h"], lambda text: len(text.split()))
        [('A', 'd e'), ('B', 'f g h')]
    """
    if reference is None:
        return []
    lengths = _lengths(clean, length_of)
    if isinstance(reference, Mapping):
        if unknown := [template for template in reference if template not in lengths]:
            raise UsageError(
                f"reference has the template {shown(unknown[0])}, which no prompt has{nearest(unknown[0], lengths)}"
            )
        by_template = {template: list(reference.get(template, ())) for template in lengths}
    else:
        by_template = {
            template: [prompt for prompt in reference if length_of(prompt) == length]
            for template, length in lengths.items()
        }
    for template, prompts in by_template.items():
        if not prompts:
            raise UsageError(
                f"reference has no prompt of {lengths[template]} tokens for the template {shown(template)}; mean "
                "ablation needs some, best 16 or more"
            )
        if other := [prompt for prompt in prompts if length_of(prompt) != lengths[template]]:
            raise UsageError(
                f"reference[{shown(template)}]: {shown(other[0])} has {length_of(other[0])} tokens, the prompts of "
                f"this template have {lengths[template]}; means are taken at equal length"
            )
    return [(template, prompt) for template, prompts in by_template.items() for prompt in prompts]


def _lengths(clean: Sequence[tuple[str, Entry]], length_of: Callable[[Entry], int]) -> dict[str, int]:
    """The token length of each template's prompts.

    Raises:
        UsageError: a template has several.
    """
    lengths: dict[str, int] = {}
    for template, prompt in clean:
        length = length_of(prompt)
        if lengths.setdefault(template, length) != length:
            raise UsageError(
                f"the template {shown(template)} has prompts of {lengths[template]} and of {length} tokens, and a mean "
                "over reference prompts is taken position by position; give each length a template of its own"
            )
    return lengths


def with_reference(data: DataSet) -> DataSet:
    """A data set with reference prompts: those of its first corruption, where it has none of its own.

    Means are taken at equal length, so of each template only the prompts of its most frequent token length are kept.

    Args:
        data: with a reference or with a corruption.

    Returns:
        The data set, or the part of it that has a reference.

    Raises:
        UsageError: neither a reference nor a corruption.

    Example:
        >>> from pytest_interp import load
        >>> from pytest_interp.tasks import copied_tokens
        >>> data = copied_tokens(load("planted-ioi").tokenizer, half="confirm", n=4, seed=0, bos=True)
        >>> len(with_reference(data).reference)
        4
    """
    if data.reference is not None:
        return data
    if not data.corrupted:
        raise UsageError(f"{data.name} has neither reference prompts nor a corruption; mean ablation needs some")
    lengths = {row: group.tokens.shape[1] for group in data.clean.groups for row in group.rows}
    counts = Counter((prompt.template, lengths[row]) for row, prompt in enumerate(data.clean.prompts))
    usual: dict[str, int] = {}
    for (template, length), _ in counts.most_common():
        usual.setdefault(template, length)
    rows = [row for row, prompt in enumerate(data.clean.prompts) if lengths[row] == usual[prompt.template]]
    part = data.rebuild(rows)
    return replace(part, reference=replace(next(iter(part.corrupted.values()))))
