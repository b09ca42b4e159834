"""Indirect object identification with one more mention of a name, in a sentence between (Wang et al. 2022, figure 8).

The clean run mentions S once more, the corruption ``io-mentioned`` mentions IO instead: then both names stand twice,
and the answer is no longer the one that stands once. The sentences are of this project.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable
from pytest_interp.tasks.dataset import DataSet, build, redrawable
from pytest_interp.tasks.ioi import ioi
from pytest_interp.tasks.prompts import Prompt
from pytest_interp.tasks.slots import Half, known

_SENTENCES = ("{N} had some time left.", "{N} wore a green scarf.", "{N} liked the quiet.")
EXTRA = "EXTRA"


@checked
@redrawable
def ioi_extra_mention(tokenizer: Any, *, half: Half, n: int, seed: int, bos: bool) -> DataSet:
    """A seeded sample of IOI prompts of two sentences, with a third between them that mentions S again.

    Positions: those of IOI, and EXTRA: the added mention.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: of templates and names.
        n: how many prompts at most; four templates of a half have two sentences.
        seed: for this object's own generator.
        bos: whether BOS stands before each prompt.

    Raises:
        NotApplicable: a tokenizer that does not know the added sentences.
    """
    if not all(known(tokenizer, sentence.replace("{N}", "")) for sentence in _SENTENCES):
        raise NotApplicable("this tokenizer does not know the words of the sentences that mention a name once more")
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
    """The prompt with a sentence after its first one; marks move with the text."""
    at = prompt.text.index(". ") + 1
    added = " " + sentence.replace("{N}", name.strip())
    marks = {key: end + len(added) * (end > at) for key, end in prompt.marks.items()}
    marks[EXTRA] = at + 1 + len(name.strip())
    return replace(prompt, text=prompt.text[:at] + added + prompt.text[at:], marks=marks)
