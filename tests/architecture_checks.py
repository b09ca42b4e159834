"""Families of measurement on small models of many architectures, against computations without TransformerLens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from architectures import ARCHITECTURES, HEADS, LAYERS, random_model
from raw_models import RawModel

from pytest_interp import measure
from pytest_interp.checkpoints.checkpoint import Checkpoint
from pytest_interp.checkpoints.checks.preflight import preflight
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.engine import Experiment
from pytest_interp.errors import InterpError
from pytest_interp.heads import Head
from pytest_interp.tasks import ioi as ioi_data

CHECKED = (Head(0, 1), Head(1, 2), Head(2, 0), Head(2, 3))


@dataclass(frozen=True)
class Cell:
    """How far a family is from the independent computation on an architecture.

    Attributes:
        difference: the largest of all values; None where it could not be measured.
        size: the largest value of the independent computation.
        reason: why it could not be measured.
    """

    difference: float | None
    size: float = 0.0
    reason: str = ""

    @property
    def right(self) -> bool:
        """Whether the difference is float noise."""
        return self.difference is not None and self.difference <= 1e-4 * max(self.size, 1e-2)


class Pair:
    """A checkpoint and the same model without TransformerLens, on the same prompts.

    Args:
        name: of an architecture.
        tokenizer: of both.
        more: what the configuration says beyond that of the architecture.
    """

    def __init__(self, name: str, tokenizer: Any, **more: Any) -> None:
        def load() -> tuple[Any, Any]:
            return random_model(name, len(tokenizer), **more), tokenizer

        spec = CheckpointSpec(name.replace(" ", "-"), loader=load, bos=True)
        self.checkpoint = Checkpoint(spec)
        preflight(self.checkpoint)
        self.raw = RawModel(load()[0], HEADS)
        self.experiment = Experiment(self.checkpoint, ioi_data(tokenizer, half="confirm", n=24, seed=1, bos=True))
        self.runs = [self.raw.run(group.tokens) for group in self.experiment.data.clean.groups]

    def by_prompt(self, compute: Callable[[int, Any], torch.Tensor]) -> torch.Tensor:
        """A value for each prompt, from one tensor for each group."""
        groups = self.experiment.data.clean.groups
        return self.experiment.in_order([compute(index, group) for index, group in enumerate(groups)])


def logit_diffs(pair: Pair) -> Cell:
    """The logit difference."""

    def expected(index: int, group: Any) -> torch.Tensor:
        logits, rows = pair.runs[index][0], torch.arange(len(group.rows))
        return logits[rows, group.answers] - logits[rows, group.distractors]

    return _compared(torch.tensor(measure.logit_diff(pair.experiment).values), pair.by_prompt(expected))


def patches(pair: Pair) -> Cell:
    """What the logit difference gains where z of a head at END is that of the corrupted run."""
    corrupted = [pair.raw.run(group.tokens)[1] for group in pair.experiment.data.run("abc").groups]
    values, expected = [], []
    for head in CHECKED:
        effect = measure.head_patch_effect(
            pair.experiment, head, at="END", corruption="abc", direction="noise", metric="logit_diff"
        )

        def gain(index: int, group: Any, head: Head = head) -> torch.Tensor:
            z, rows = corrupted[index][head.layer][:, -1], torch.arange(len(group.rows))
            other = z[:, pair.raw.columns(head.head, z.shape[-1])]
            moved = pair.raw.run_with_head(group.tokens, head.layer, head.head, other) - pair.runs[index][0]
            return moved[rows, group.answers] - moved[rows, group.distractors]

        values.append(torch.tensor(effect.values))
        expected.append(pair.by_prompt(gain))
    return _compared(torch.stack(values), torch.stack(expected))


def direct_logit_attribution_sweep(pair: Pair) -> Cell:
    """The direct logit attribution of every head, its value bias kept, as in the raw model."""
    table = measure.direct_logit_attribution_sweep(pair.experiment, value_bias="kept")
    heads = pair.checkpoint.shape.heads
    return _compared(_columns(table, heads), torch.stack([_attribution(pair, h.layer, h.head) for h in heads], 1))


def attention_attributions(pair: Pair) -> Cell:
    """The direct logit attribution of the attention of every layer."""
    table = measure.component_attribution_sweep(pair.experiment)
    keys = [(layer, "attn_out") for layer in range(LAYERS)]
    return _compared(
        _columns(table, keys), torch.stack([_attribution(pair, layer, None) for layer in range(LAYERS)], 1)
    )


def copy_score_sweep(pair: Pair) -> Cell:
    """The share of names that each head ranks in the upper half of the vocabulary for themselves."""
    names = sorted({prompt.answer.strip() for prompt in pair.experiment.data.clean.prompts})
    k = pair.checkpoint.shape.d_vocab // 2
    tokens = torch.tensor([pair.checkpoint.tokenizer.convert_tokens_to_ids(name) for name in names])
    stream = pair.raw.through_mlp0(tokens)
    shares = []
    for head in pair.checkpoint.shape.heads:
        logits = pair.raw.written_logits(head.layer, head.head, pair.raw.values(head.layer, stream))
        ranks = (logits >= logits.gather(1, tokens[:, None])).sum(1)
        shares.append(float((ranks <= k).float().mean()))
    table = measure.copy_score_sweep(pair.checkpoint, names=names, k=k)
    return _compared(torch.tensor([table[head].value for head in pair.checkpoint.shape.heads]), torch.tensor(shares))


def eigenvalue_scores(pair: Pair) -> Cell:
    """The eigenvalue score of the OV circuit of some heads, from tokens to tokens."""
    embedding = pair.raw.model.get_input_embeddings().weight.detach()
    scores, expected = [], []
    for head in CHECKED:
        norm = pair.raw.before[head.layer]
        stream = embedding
        scale = torch.ones(len(stream), 1)
        if norm is not None:
            centred = stream - stream.mean(-1, keepdim=True) if pair.raw._centres(norm, stream) else stream
            stream = stream * 1e3  # beside which the epsilon of a norm is nothing
            scale = centred.pow(2).mean(-1, keepdim=True).sqrt()
        z = pair.raw.values(head.layer, stream)
        logits = pair.raw.written_logits(head.layer, head.head, z) * scale
        logits = logits - logits.mean(-1, keepdim=True)  # a constant over the vocabulary says nothing
        values = torch.linalg.eigvals(logits.double())
        expected.append(float(values.real.sum() / values.abs().sum()))
        scores.append(measure.ov_eigenvalue_score(pair.checkpoint, head).value)
    return _compared(torch.tensor(scores), torch.tensor(expected))


FAMILIES: Mapping[str, Callable[[Pair], Cell]] = {
    "logit difference": logit_diffs,
    "patches": patches,
    "heads": direct_logit_attribution_sweep,
    "attention": attention_attributions,
    "copy scores": copy_score_sweep,
    "eigenvalues": eigenvalue_scores,
}


def cells_of(name: str, tokenizer: Any) -> dict[str, Cell]:
    """Every family on an architecture, see :data:`FAMILIES`."""
    assert name in ARCHITECTURES
    try:
        pair = Pair(name, tokenizer)
    except InterpError as error:
        return dict.fromkeys(FAMILIES, Cell(None, reason=str(error)))
    return {family: _cell(compute, pair) for family, compute in FAMILIES.items()}


def _cell(compute: Callable[[Pair], Cell], pair: Pair) -> Cell:
    try:
        return compute(pair)
    except InterpError as error:
        return Cell(None, reason=str(error))


def _attribution(pair: Pair, layer: int, head: int | None) -> torch.Tensor:
    def expected(index: int, group: Any) -> torch.Tensor:
        _, z, stream = pair.runs[index]
        part = pair.raw.contribution(layer, head, z[layer][:, -1])
        return pair.raw.direct_effect(part, stream, group.answers, group.distractors)

    return pair.by_prompt(expected)


def _columns(table: Any, keys: Any) -> torch.Tensor:
    return torch.tensor([table[key].values for key in keys]).T


def _compared(values: torch.Tensor, expected: torch.Tensor) -> Cell:
    difference = float((values.double() - expected.double()).abs().max())
    return Cell(difference, float(expected.abs().max()))
