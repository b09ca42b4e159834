"""Stimuli and figures that several published claims share, so that the claims themselves hold no tensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def figure() -> Callable[[str], Any]:
    """``figure("ead_head_dla")``: the numbers of a printed figure, row by row, as figures.json has them."""
    figures = json.loads((Path(__file__).parent / "figures.json").read_text(encoding="utf-8"))
    return lambda name: figures[name]["values"]


@pytest.fixture(scope="session")
def random_tokens() -> Callable[..., list[list[int]]]:
    """``random_tokens(2, 100, low=100, high=20000, seed=0)``: what torch draws with this seed on a CPU."""
    import torch

    def draw(rows: int, length: int, *, low: int, high: int, seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        drawn: list[list[int]] = torch.randint(low, high, (rows, length), generator=generator).tolist()
        return drawn

    return draw


@pytest.fixture(scope="session")
def demo_tokens(checkpoint: Any, random_tokens: Callable[..., list[list[int]]]) -> Any:
    """The random tokens of TransformerLens's Exploratory_Analysis_Demo, each sequence said twice, without BOS."""
    from pytest_interp import Experiment
    from pytest_interp.tasks import repeated_ids

    tokens = random_tokens(2, 100, low=100, high=20000, seed=0)
    return Experiment(checkpoint, repeated_ids(checkpoint.tokenizer, tokens, bos=False))


@pytest.fixture(scope="session")
def induced(checkpoint: Any) -> Any:
    """A hundred sequences of 30 random tokens said twice up to the last, with BOS.

    NEXT is the token after END's token in the first copy, and the answer.
    """
    from pytest_interp import Experiment
    from pytest_interp.tasks import repeated_tokens

    return Experiment(
        checkpoint, repeated_tokens(checkpoint.tokenizer, length=30, n=100, seed=1, bos=True, complete=False)
    )


@pytest.fixture(scope="session")
def seed_one(checkpoint: Any) -> Callable[[int, int], Any]:
    """``seed_one(0, 25)``: the first 25 of the hundred prompts of ARENA's IOI data set with seed 1, without BOS.

    A fixed population, as token ids of GPT-2; not applicable on a checkpoint whose tokenizer has another vocabulary.
    """
    from pytest_interp import Experiment, from_ids

    prompts = json.loads((Path(__file__).parent / "ioi_seed001.json").read_text(encoding="utf-8"))["prompts"]
    data = from_ids(
        checkpoint.tokenizer,
        clean=[prompt["tokens"] for prompt in prompts],
        answers=[prompt["io"] for prompt in prompts],
        distractors=[prompt["s"] for prompt in prompts],
        texts=[prompt["text"] for prompt in prompts],
        bos=False,
        name="ioi/seed one",
        population="fixed",
    )

    # Its return annotation says that it builds experiments: wrong protocols are then tried on them too.
    def build(start: int, stop: int) -> Experiment:
        return Experiment(checkpoint, data.rebuild(range(start, stop)))

    return build


@pytest.fixture(scope="session")
def subject_first(checkpoint: Any) -> Callable[..., Any]:
    """``subject_first(("Katie", "Lisa"), ...)``: (IO, S) pairs in our own templates, S named first, with BOS."""
    from pytest_interp import Experiment
    from pytest_interp.tasks import ioi_grid

    @cache
    def build(*pairs: tuple[str, str]) -> Any:
        data = ioi_grid(checkpoint.tokenizer, pairs, half="confirm", bos=True)
        return Experiment(checkpoint, data).select(order="BABA")

    return build


@pytest.fixture(scope="session")
def with_others(subject_first: Callable[..., Any], names: Sequence[str]) -> Callable[[str, str], Any]:
    """``with_others("Lisa", "S")``: a name as S (or as IO) with six other names in turn."""

    def build(name: str, place: str) -> Any:
        others = [other for other in names if other != name][:6]
        return subject_first(*[(other, name) if place == "S" else (name, other) for other in others])

    return build


@pytest.fixture(scope="session")
def bias_difference(checkpoint: Any) -> Callable[[str, str], float]:
    """``bias_difference(" John", " Mary")``: how much the unembedding's bias prefers one word, norms folded in."""
    from pytest_interp.tasks.prompts import single_token

    def between(word: str, other: str) -> float:
        bias = checkpoint.weights.b_u()
        return float(bias[single_token(checkpoint.tokenizer, word)] - bias[single_token(checkpoint.tokenizer, other)])

    return between


@pytest.fixture(scope="session")
def scale_ratios() -> Callable[[Any, str, str], list[float]]:
    """``scale_ratios(p8, "9.9", "10.0")``: the final norm's scale before over after zeroing a head at END, by prompt.

    It is what the second head's attribution is multiplied by when the run's own scale stands for the frozen one.
    """
    from pytest_interp.measure import backup_effect

    def of(experiment: Any, knocked_out: str, watched: str) -> list[float]:
        from pytest_interp.heads import as_head

        effect, head = backup_effect(experiment, watched, knocked_out=knocked_out, ablation="zero"), as_head(watched)
        pairs = zip(effect.after_live[head].values, effect.after[head].values, strict=True)
        return [live / frozen for live, frozen in pairs]

    return of


@pytest.fixture(scope="session")
def circuit_without(checkpoint: Any) -> Callable[..., Any]:
    """``circuit_without("induction")``: the checkpoint's circuit, each head at its position, without one role."""

    def rest(role: str) -> dict[Any, str]:
        roles = checkpoint.circuit.roles
        return {head: part.at for name, part in roles.items() if name != role for head in part.heads}

    return rest
