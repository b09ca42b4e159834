"""Whether a head writes the successor of a word that it reads in a sequence, or the word itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NUMBER_WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November"]
ORDINALS = ["second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"]

# By sequence: its words, how many prompts of four words it has, and what the source takes for each word's successor:
# a month is followed by the ordinal of the next one.
SEQUENCES: Mapping[str, tuple[Sequence[str], int, Sequence[str]]] = {
    "numerals": ([str(number) for number in range(1, 101)], 97, [str(number) for number in range(2, 102)]),
    "number words": (NUMBER_WORDS, 8, NUMBER_WORDS[1:]),
    "months": (MONTHS, 8, ORDINALS),
}


def successor_scores(checkpoint: Any, head: str, *, sequence: str, own: bool = False, k: int = 5) -> list[float]:
    """For each word of each prompt, 1 where the head puts its successor among its top k logits, else 0.

    The head reads the residual stream after the whole first block, centred and scaled, as the source does. Its value
    bias and the unembedding's bias count. The successor counts with a space before it and without.

    Args:
        checkpoint: the loaded model.
        head: such as ``9.1``.
        sequence: a key of ``SEQUENCES``.
        own: whether the word itself is looked for, not its successor.
        k: how many of the top logits count.

    Raises:
        NotApplicable: a word is several tokens.

    Lan et al. 2024 (arXiv 2311.04131), ``alltasks_nextscores.py``.
    """
    import torch

    from pytest_interp import NotApplicable
    from pytest_interp.heads import as_head
    from pytest_interp.tasks.prompts import encode

    words, prompts, successors = SEQUENCES[sequence]
    tokens = [encode(checkpoint.tokenizer, " ".join(words[start : start + 4])) for start in range(prompts)]
    if any(len(prompt) != 4 for prompt in tokens):
        raise NotApplicable(f"{checkpoint.name}: its tokenizer splits a word of the {sequence}")
    wanted = words if own else successors
    logits = _written(checkpoint, as_head(head), torch.tensor(tokens))
    values = []
    for start in range(prompts):
        for place in range(4):
            word = wanted[start + place]
            spellings = [ids[0] for text in (word, f" {word}") if len(ids := encode(checkpoint.tokenizer, text)) == 1]
            top = logits[start, place].topk(k).indices.tolist()
            values.append(float(any(token in top for token in spellings)))
    return values


def _written(checkpoint: Any, head: Any, tokens: Tensor) -> Tensor:
    """The logits that a head writes at each position where it attends to that position alone."""
    weights, after = checkpoint.weights, checkpoint.sites.hook("resid_post", 0)
    stream = checkpoint.run(tokens, keep=[after]).activations[after].float()
    normed = weights.ln1(1, stream.flatten(0, 1))
    bias = weights.value_bias(head.layer, "kept")
    values = normed @ weights.w_v(head.layer)[head.head] + bias[checkpoint.kv_head(head).head]
    written = values @ weights.w_o(head.layer)[head.head]
    written = written - written.mean(-1, keepdim=True)
    scale = (written.pow(2).mean(-1, keepdim=True) + checkpoint.bridge.cfg.eps).sqrt()
    logits: Tensor = written / scale @ weights.w_u() + weights.b_u()
    return logits.view(*tokens.shape, -1)
