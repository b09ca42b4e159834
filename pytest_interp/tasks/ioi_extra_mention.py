"""Indirect object identification with an extra mention of a name in a sentence between (Wang et al. 2022, figure 8).

The extra sentence of the clean run mentions S; that of the corruption ``io-mentioned`` mentions IO. In the corrupted
run both names stand twice, so the answer is no longer the name that stands once. The sentences are this project's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable
from pytest_interp.tasks.dataset import DataSet, build, redrawable
from pytest_interp.tasks.ioi import ioi
from pytest_interp.tasks.prompts import Prompt
from pytest_interp.tasks.shared_words import owner_of
from pytest_interp.tasks.slots import Half, is_known

_SENTENCES = ("{N} had some time left.", "{N} wore a green scarf.", "{N} liked the quiet.")
EXTRA = "EXTRA"
"""The position of the extra mention."""


@checked
@redrawable
def ioi_extra_mention(tokenizer: Any, *, half: Half, n: int, seed: int, bos: bool) -> DataSet:
    """A seeded sample of IOI prompts of two sentences, with a third sentence between them that mentions S again.

    Positions: those of IOI, and EXTRA, the extra mention.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: the half of templates and names.
        n: the largest number of prompts; four templates of a half have two sentences.
        seed: of the random choice of names, places and objects.
        bos: whether BOS stands before each prompt.

    Raises:
        NotApplicable: the tokenizer does not know the words of the extra sentences.
    """
    if not all(is_known(tokenizer, sentence.replace("{N}", "")) for sentence in _SENTENCES):
        raise NotApplicable(
            f"the sentences that mention a name once more are not in the words of {owner_of(tokenizer)}"
        )
    drawn = ioi(tokenizer, half=half, n=3 * n, seed=seed, bos=bos)
    chosen = [prompt for prompt in drawn.clean.prompts if ". " in prompt.text][:n]
    sentences = [_SENTENCES[i % len(_SENTENCES)] for i in range(len(chosen))]
    clean = [_with(p, sentence, p.distractor) for p, sentence in zip(chosen, sentences, strict=True)]
    other = [_with(p, sentence, p.answer) for p, sentence in zip(chosen, sentences, strict=True)]
    name = f"ioi-mentioned/{half}"
    return build(
        tokenizer, clean, {"io-mentioned": other}, None, bos=bos, name=name, population="sampled", seed=seed
    )  # fmt: skip


def _with(prompt: Prompt, sentence: str, name: str) -> Prompt:
    """The prompt with a sentence inserted after its first one; marks behind it move with the text."""
    split = prompt.text.index(". ") + 1
    inserted = " " + sentence.replace("{N}", name.strip())
    marks = {key: end + len(inserted) * (end > split) for key, end in prompt.marks.items()}
    marks[EXTRA] = split + 1 + len(name.strip())
    return replace(prompt, text=prompt.text[:split] + inserted + prompt.text[split:], marks=marks)
