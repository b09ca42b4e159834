"""What the published figures were measured on, as experiments and token ids: functions that the fixtures call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_interp import UsageError

from .populations import ListedPrompt


def random_tokens(rows: int, length: int, *, low: int, high: int, seed: int) -> list[list[int]]:
    """What torch draws with this seed on a CPU."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    drawn: list[list[int]] = torch.randint(low, high, (rows, length), generator=generator).tolist()
    return drawn


def listed(checkpoint: Any, prompts: Sequence[ListedPrompt], *, bos: bool, name: str, signals: bool = False) -> Any:
    """The checkpoint on listed IOI prompts: a fixed population with the positions of IO, S1, S1+1 and S2.

    Prompts of one template are the reference of its means, as where a notebook passes its own data set.

    Args:
        checkpoint: the loaded model.
        prompts: without BOS.
        bos: whether BOS is put before each.
        name: of the data set.
        signals: whether the prompts have the corruptions of ``signal_corruptions``.
    """
    from pytest_interp import Experiment, NotApplicable, from_ids
    from pytest_interp.tasks.prompts import encode, single_token

    tokenizer = checkpoint.tokenizer
    words = dict.fromkeys(word for prompt in prompts for word in (prompt.io, prompt.s))
    try:
        ids = {word: single_token(tokenizer, f" {word}") for word in words}
    except UsageError as error:
        raise NotApplicable(f"{name}: {error}") from None
    clean = [encode(tokenizer, prompt.text) for prompt in prompts]
    pairs = [(ids[prompt.io], ids[prompt.s]) for prompt in prompts]
    reference: dict[str, list[list[int]]] = {}
    for prompt, tokens in zip(prompts, clean, strict=True):
        reference.setdefault(prompt.template, []).append(tokens)
    data = from_ids(
        tokenizer,
        clean=clean,
        answers=[io for io, _ in pairs],
        distractors=[s for _, s in pairs],
        texts=[tokenizer.decode(tokens) for tokens in clean],
        corrupted=signal_corruptions(clean, pairs, list(ids.values())) if signals else None,
        positions=name_positions(clean, pairs),
        templates=[prompt.template for prompt in prompts],
        reference=reference,
        bos=bos,
        name=name,
        population="fixed",
    )
    return Experiment(checkpoint, data)


def seed_one_prompts(checkpoint: Any) -> Any:
    """The checkpoint on the hundred prompts of ARENA's IOI data set with seed 1, by GPT-2's token ids, without BOS."""
    from pytest_interp import Experiment, from_ids

    prompts = json.loads((Path(__file__).parent / "ioi_seed001.json").read_text(encoding="utf-8"))["prompts"]
    tokens = [prompt["tokens"] for prompt in prompts]
    pairs = [(prompt["io"], prompt["s"]) for prompt in prompts]
    data = from_ids(
        checkpoint.tokenizer,
        clean=tokens,
        answers=[io for io, _ in pairs],
        distractors=[s for _, s in pairs],
        texts=[prompt["text"] for prompt in prompts],
        positions=name_positions(tokens, pairs),
        bos=False,
        name="ioi/seed one",
        population="fixed",
    )
    return Experiment(checkpoint, data)


def name_positions(prompts: Sequence[Sequence[int]], pairs: Sequence[tuple[int, int]]) -> dict[str, list[int]]:
    """The indices of IO and S1 (the first mentions), S1+1, and S2 (the last mention) in each prompt.

    Args:
        prompts: token ids, without BOS.
        pairs: the ids of IO and S.
    """
    positions: dict[str, list[int]] = {"IO": [], "S1": [], "S1+1": [], "S2": []}
    for prompt, (io, s) in zip(prompts, pairs, strict=True):
        tokens = list(prompt)
        first = tokens.index(s)
        positions["IO"].append(tokens.index(io))
        positions["S1"].append(first)
        positions["S1+1"].append(first + 1)
        positions["S2"].append(len(tokens) - 1 - tokens[::-1].index(s))
    return positions


def signal_corruptions(
    prompts: Sequence[Sequence[int]], pairs: Sequence[tuple[int, int]], names: Sequence[int]
) -> dict[str, list[list[int]]]:
    """Prompts with other names at IO, S1 and S2: S2 repeats another position, another token, or both, or nothing.

    Args:
        prompts: token ids, without BOS.
        pairs: the ids of IO and S.
        names: ids of all names; from them the random ones are taken in turn.
    """
    positions = name_positions(prompts, pairs)
    corrupted: dict[str, list[list[int]]] = {}
    for row, (prompt, (io, s)) in enumerate(zip(prompts, pairs, strict=True)):
        others = [name for name in dict.fromkeys(names) if name not in (io, s)]
        first, second, third = (others[(row + step) % len(others)] for step in range(3))
        for corruption, at_io, at_s1, at_s2 in (
            ("abc", first, second, third),
            ("random-names", first, second, second),
            ("names-exchanged", s, io, io),
            ("order-exchanged", s, io, s),
            ("order-exchanged-random-names", first, second, first),
            ("s2-exchanged", io, s, io),
        ):
            tokens = list(prompt)
            for position, token in (("IO", at_io), ("S1", at_s1), ("S2", at_s2)):
                tokens[positions[position][row]] = token
            corrupted.setdefault(corruption, []).append(tokens)
    return corrupted
