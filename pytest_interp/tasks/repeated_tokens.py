"""Random tokens that are repeated once: nothing but the repetition tells what comes next.

Tokens are drawn from the whole vocabulary without its control tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.tasks.dataset import DataSet, redrawable
from pytest_interp.tasks.prompts import Prompt, PromptSet, prompts_of_ids
from pytest_interp.tasks.slots import Half
from pytest_interp.tasks.vocabulary import check_tokens, decode, ordinary_tokens


@checked
@redrawable
def repeated_tokens(tokenizer: Any, *, length: int, n: int, seed: int, bos: bool, complete: bool) -> DataSet:
    """Sequences of ``length`` different random tokens, each repeated once.

    With ``complete=True`` both copies are whole, for the head detectors; the answer is the sequence's first token.

    With ``complete=False`` the second copy lacks its last token, which is the answer; the distractor is another token
    of the sequence. The corruption ``first-copy-changed`` has other random tokens as its first copy, so that nothing is
    repeated. Positions: PREVIOUS (of END's token in the first copy), NEXT (of the answer in the first copy), END.

    Args:
        tokenizer: a Hugging Face tokenizer.
        length: tokens of a copy.
        n: how many sequences.
        seed: for this object's own generator.
        bos: whether BOS stands before each.
        complete: whether the second copy is whole.

    Raises:
        UsageError: a length below 2 (below 3 with ``complete=False``), no sequences, or fewer ordinary tokens than are
            needed.

    Example:
        >>> from pytest_interp import load
        >>> repeated_tokens(load("planted-ioi").tokenizer, length=5, n=2, seed=0, bos=True, complete=True)
        <DataSet repeated-tokens/5: 2 prompts of 11 tokens (BOS), sampled; positions END>
    """
    ordinary, least = ordinary_tokens(tokenizer), 2 if complete else 3
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
        second = sequence if complete else sequence[:-1]
        clean.append([*sequence, *second])
        changed.append([*other, *second])
        answers.append(sequence[0] if complete else sequence[-1])
        distractors.append(sequence[1] if complete else rng.choice(sequence[:-2]))
    name = f"repeated-tokens/{length}" if complete else f"repeated-tokens/{length}, incomplete"
    positions = {} if complete else {"PREVIOUS": length - 2, "NEXT": length - 1}

    def run(sequences: Sequence[Sequence[int]], rows: Sequence[int]) -> PromptSet:
        prompts = [
            (Prompt(decode(tokenizer, sequences[row]), decode(tokenizer, [answers[row]]),
                    decode(tokenizer, [distractors[row]]), {}, f"sequence {row}"),
             sequences[row], answers[row], distractors[row])
            for row in rows
        ]  # fmt: skip
        return prompts_of_ids(tokenizer, prompts, [positions] * len(prompts), bos=bos)

    def build(rows: Sequence[int]) -> DataSet:
        return DataSet(
            name=name,
            clean=run(clean, rows),
            corrupted={} if complete else {"first-copy-changed": run(changed, rows)},
            reference=None,
            population="sampled",
            seed=seed,
            rebuild=lambda chosen: build([rows[i] for i in chosen]),
        )

    return build(range(n))


@checked
@redrawable
def copied_tokens(tokenizer: Any, *, half: Half, n: int, seed: int, bos: bool) -> DataSet:  # noqa: ARG001  (see below)
    """Sequences of 12 random tokens, each repeated once but for its last token, with the arguments of other tasks.

    As :func:`repeated_tokens` with ``length=12`` and ``complete=False``, short enough for the context of any model.

    Args:
        tokenizer: a Hugging Face tokenizer.
        half: changes nothing: there are no templates and names to divide. Another seed draws other sequences.
        n: how many sequences.
        seed: of the random choice of tokens.
        bos: whether BOS stands before each.

    Raises:
        UsageError: no sequences, or fewer than 24 ordinary tokens.

    Example:
        >>> from pytest_interp import load
        >>> copied_tokens(load("planted-ioi").tokenizer, half="find", n=2, seed=0, bos=True).clean.position_names
        ('PREVIOUS', 'NEXT', 'END')
    """
    return repeated_tokens(tokenizer, length=12, n=n, seed=seed, bos=bos, complete=False)


@checked
def repeated_ids(tokenizer: Any, sequences: Sequence[Sequence[int]], *, bos: bool) -> DataSet:
    """Sequences of your own token ids, each repeated once in full: a fixed population.

    It is for figures whose source lists its tokens.

    Args:
        tokenizer: a Hugging Face tokenizer.
        sequences: token ids of one length, at least 2.
        bos: whether BOS stands before each.

    Raises:
        UsageError: no sequences, sequences of several lengths, the token that stands for unknown text.
        NotApplicable: token ids of another vocabulary.
    """
    lengths = sorted({len(sequence) for sequence in sequences})
    if len(lengths) != 1 or lengths[0] < 2:
        raise UsageError(
            f"{len(sequences)} sequences of lengths {lengths} were passed; pass at least one, all of one length of at "
            "least 2 tokens"
        )
    prompts = []
    for i, sequence in enumerate(sequences):
        label, twice = f"sequence {i}", [*sequence, *sequence]
        check_tokens(tokenizer, sequence, label)
        answer, distractor = (decode(tokenizer, [token]) for token in sequence[:2])
        prompt = Prompt(decode(tokenizer, twice), answer, distractor, {}, label)
        prompts.append((prompt, twice, sequence[0], sequence[1]))
    clean = prompts_of_ids(tokenizer, prompts, [{}] * len(prompts), bos=bos)
    return DataSet(
        name=f"repeated-ids/{len(sequences[0])}", clean=clean, corrupted={}, reference=None, population="fixed",
        seed=None, rebuild=lambda rows: repeated_ids(tokenizer, [sequences[row] for row in rows], bos=bos),
    )  # fmt: skip
