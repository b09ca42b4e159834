"""Random tokens said twice: nothing but repetition tells what comes next.

Tokens are drawn from all of the vocabulary but its control tokens.

``repeated``: the second copy stops before its last token; the answer is that token, the distractor another of the
sequence. The corruption ``first-copy-changed`` has other random tokens first, so that nothing was repeated.
``doubled``: both copies whole, for the head detectors.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.tasks.dataset import DataSet, redrawable
from pytest_interp.tasks.prompts import Prompt, PromptSet, prompts_of_ids
from pytest_interp.tasks.vocabulary import check_ids, check_known, decode, ordinary_tokens


@checked
@redrawable
def repeated(tokenizer: Any, *, length: int, n: int, seed: int, bos: bool) -> DataSet:
    """Sequences of ``length`` different random tokens, said twice up to the last one.

    Positions: PREVIOUS (where END's token stood in the first copy), NEXT (what followed it there: the answer), END.

    Args:
        tokenizer: a Hugging Face tokenizer.
        length: tokens of a copy.
        n: how many sequences.
        seed: for this object's own generator.
        bos: whether BOS stands before each.

    Raises:
        UsageError: a length below 3, no sequences, or fewer ordinary tokens than are needed.
    """
    return _data(tokenizer, length, n, seed, bos, least=3, whole=False)


@checked
@redrawable
def doubled(tokenizer: Any, *, length: int, n: int, seed: int, bos: bool) -> DataSet:
    """Sequences of ``length`` different random tokens, said twice in full; the answer would be the first token.

    Args:
        tokenizer: a Hugging Face tokenizer.
        length: tokens of a copy.
        n: how many sequences.
        seed: for this object's own generator.
        bos: whether BOS stands before each.

    Raises:
        UsageError: a length below 2, no sequences, or fewer ordinary tokens than are needed.
    """
    return _data(tokenizer, length, n, seed, bos, least=2, whole=True)


@checked
def doubled_of(tokenizer: Any, sequences: Sequence[Sequence[int]], *, bos: bool) -> DataSet:
    """Given sequences of token ids, each said twice in full: a fixed population, for figures that name their tokens.

    Args:
        tokenizer: a Hugging Face tokenizer.
        sequences: token ids of one length, at least 2.
        bos: whether BOS stands before each.

    Raises:
        UsageError: none, sequences of several lengths, a token that stands for what the tokenizer does not know.
        NotApplicable: token ids of another vocabulary.
    """
    lengths = sorted({len(one) for one in sequences})
    if len(lengths) != 1 or lengths[0] < 2:
        raise UsageError(
            f"{len(sequences)} sequences of lengths {lengths} were passed; pass at least one, all of one length of at "
            "least 2 tokens"
        )
    prompts = []
    for i, one in enumerate(sequences):
        check_ids(tokenizer, one, f"sequence {i}")
        check_known(tokenizer, one, f"sequence {i}")
        prompt = Prompt(decode(tokenizer, [*one, *one]), decode(tokenizer, one[:1]), decode(tokenizer, one[1:2]), {},
                        f"sequence {i}")  # fmt: skip
        prompts.append((prompt, [*one, *one], one[0], one[1]))
    made = prompts_of_ids(tokenizer, prompts, [{}] * len(prompts), bos=bos)
    return DataSet(
        name=f"doubled/{len(sequences[0])} given", clean=made, corrupted={}, reference=None, population="fixed",
        seed=None, rebuild=lambda rows: doubled_of(tokenizer, [sequences[row] for row in rows], bos=bos),
    )  # fmt: skip


def _data(tokenizer: Any, length: int, n: int, seed: int, bos: bool, *, least: int, whole: bool) -> DataSet:
    ordinary = ordinary_tokens(tokenizer)
    if length < least or n < 1:
        raise UsageError(
            f"length is {length} and n is {n}; a sequence needs at least {least} tokens, and there must be one of them"
        )
    if len(ordinary) < 2 * length:
        raise UsageError(
            f"{2 * length} different tokens are needed for length {length}, this tokenizer has {len(ordinary)} that "
            f"are no control tokens; pass length {len(ordinary) // 2} or less"
        )
    rng = random.Random(seed)
    clean, changed, answers, distractors = [], [], [], []
    for _ in range(n):
        tokens = rng.sample(ordinary, 2 * length)
        sequence, other = tokens[:length], tokens[length:]
        second = sequence if whole else sequence[:-1]
        clean.append([*sequence, *second])
        changed.append([*other, *second])
        answers.append(sequence[0] if whole else sequence[-1])
        distractors.append(sequence[1] if whole else rng.choice(sequence[:-2]))
    name = "doubled" if whole else "repeated"
    marks = {} if whole else {"PREVIOUS": length - 2, "NEXT": length - 1}

    def made(rows: Sequence[int]) -> DataSet:
        def run(tokens: Sequence[Sequence[int]]) -> PromptSet:
            prompts = [
                (Prompt(decode(tokenizer, tokens[row]), decode(tokenizer, [answers[row]]),
                        decode(tokenizer, [distractors[row]]), {}, f"sequence {row}"),
                 tokens[row], answers[row], distractors[row])
                for row in rows
            ]  # fmt: skip
            return prompts_of_ids(tokenizer, prompts, [marks] * len(prompts), bos=bos)

        return DataSet(
            name=f"{name}/{length}",
            clean=run(clean),
            corrupted={} if whole else {"first-copy-changed": run(changed)},
            reference=None,
            population="sampled",
            seed=seed,
            rebuild=lambda some: made([rows[i] for i in some]),
        )

    return made(range(n))
