"""The reference prompts of a listed task: mean and resample ablation take replacement activations from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pytest_interp.errors import UsageError, nearest
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
