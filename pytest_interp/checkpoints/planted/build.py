"""Builds a planted model: writes the weights that a table of rules states into TransformerLens's native transformer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pytest_interp.checkpoints.planted.rules import (
    CODE,
    D_HEAD,
    END_WORD,
    N_HEADS,
    N_LAYERS,
    N_NAMES,
    N_POSITIONS,
    SUBSPACES,
    Match,
    Rule,
    codes,
    vocabulary,
)
from pytest_interp.errors import UsageError, nearest
from pytest_interp.heads import Head

_BALLAST = 3000.0
"""A constant that is large beside all other entries of a residual stream."""


@dataclass(frozen=True)
class Plan:
    """The choices from which a planted model is built.

    Attributes:
        rules: what each head does; a head without a rule is 0.
        readable: whether the first MLP copies the code of names into a subspace ``readable``; heads that read names
            there get nothing unless names pass this MLP.
        n_kv_heads: key-value heads of a layer; if there are fewer than heads, neighbours share one.
        rms: whether RMSNorm stands before each part and at the end. A large constant in a dimension of its own
            (``ballast``) keeps the norm of every residual stream the same to one part in ten thousand, and the gains
            undo it.
        noise: standard deviation of what is added to every weight, relative to the rules' unit weights.
        live: standard deviation of the weights of heads without a rule; 0 leaves them silent.

    Example:
        >>> from pytest_interp.checkpoints.planted.rules import RULES
        >>> plan = Plan(RULES, rms=True)
        >>> plan.part("token"), plan.part("previous")
        (slice(0, 64, None), slice(64, 128, None))
        >>> sum(plan.subspaces.values())  # d_model
        304
    """

    rules: Mapping[Head, Rule]
    readable: bool = False
    n_kv_heads: int = N_HEADS
    rms: bool = False
    noise: float = 0.0
    live: float = 0.0

    @property
    def subspaces(self) -> Mapping[str, int]:
        """The width of each subspace of the residual stream, by name and in order."""
        readable = {"readable": CODE} if self.readable else {}
        ballast = {"ballast": 1} if self.rms else {}
        return {**SUBSPACES, **readable, **ballast}

    def part(self, name: str) -> slice:
        """The dimensions of the residual stream that a subspace has.

        Raises:
            UsageError: there is no such subspace.
        """
        start = 0
        for subspace, width in self.subspaces.items():
            if subspace == name:
                return slice(start, start + width)
            start += width
        raise UsageError(f"the planted model has no subspace {name!r}{nearest(name, self.subspaces)}")


def build_planted(plan: Plan | Mapping[Head, Rule], tokenizer_directory: Path) -> Any:
    """Builds a planted model with its word-level tokenizer.

    Args:
        plan: what it is built from; a table of rules alone stands for ``Plan(rules)``.
        tokenizer_directory: a folder into which the tokenizer is written.

    Returns:
        A TransformerBridge, not in compatibility mode.

    Raises:
        UsageError: rules that do not fit: they need more dimensions than a head has, or name no subspace.

    Example:
        A model without the duplicate-token head; :func:`pytest_interp.load` makes a checkpoint of it:

        >>> import tempfile
        >>> from pytest_interp.checkpoints.planted.rules import without
        >>> bridge = build_planted(without(Head(0, 1)), Path(tempfile.mkdtemp()))
        >>> bool(bridge.blocks[0].attn.o.weight[:, D_HEAD : 2 * D_HEAD].any())  # what head 0.1 writes
        False
    """
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    plan = plan if isinstance(plan, Plan) else Plan(plan)
    config = TransformerBridgeConfig(
        d_model=sum(plan.subspaces.values()),
        d_head=D_HEAD,
        n_heads=N_HEADS,
        n_layers=N_LAYERS,
        n_ctx=N_POSITIONS,
        d_vocab=len(vocabulary()),
        d_mlp=N_NAMES if plan.readable else 4,
        act_fn="relu",
        attn_only=False,  # with MLPs absent, the sites resid_mid and mlp_out would be absent too
        normalization_type="RMS" if plan.rms else None,
        n_key_value_heads=None if plan.n_kv_heads == N_HEADS else plan.n_kv_heads,
        init_weights=False,
        seed=0,
    )
    tokenizer = planted_tokenizer(tokenizer_directory)
    bridge = TransformerBridge.boot_native(config, tokenizer=tokenizer, device="cpu", model_name="planted")
    _write_weights(bridge, plan)
    return bridge


def _write_weights(bridge: Any, plan: Plan) -> None:
    """Writes embeddings, unembedding, norms, the first MLP and the heads."""
    import torch

    code = torch.tensor(codes())
    words, part = vocabulary(), plan.part
    with torch.no_grad():
        for parameter in bridge.original_model.parameters():
            parameter.zero_()
        if plan.live or plan.noise:
            _add_noise(bridge, plan, torch)
        embedding = bridge.embed.weight
        embedding[:, part("token")] += code
        embedding[:, part("one")] += 1
        embedding[1:, part("not_bos")] += 1
        embedding[0, part("bos")] += 1
        embedding[2 : 2 + N_NAMES, part("is_name")] += 1
        embedding[words.index(END_WORD), part("is_end")] += 1
        bridge.pos_embed.weight[:, part("position")] += torch.eye(N_POSITIONS)
        bridge.unembed.weight[:, part("output")] += code
        if plan.rms:
            embedding[:, part("ballast")] = _BALLAST
            for name, parameter in bridge.original_model.named_parameters():
                if parameter.ndim == 1 and len(parameter) == embedding.shape[1] and "bias" not in name:
                    parameter.fill_(_BALLAST / embedding.shape[1] ** 0.5)
        if plan.readable:
            mlp = bridge.blocks[0].mlp
            names = torch.eye(N_NAMES)  # their codes are the first dimensions, one each
            start = part("token").start
            getattr(mlp, "in").weight[:, start : start + N_NAMES] += names
            start = part("readable").start
            mlp.out.weight[start : start + N_NAMES] += names
        group_size = N_HEADS // plan.n_kv_heads
        by_kv_head = groupby(sorted(plan.rules), key=lambda head: (head.layer, head.head // group_size))
        for (layer, kv_head), heads in by_kv_head:
            _write_group(bridge.blocks[layer].attn, kv_head, [plan.rules[head] for head in heads], plan, torch)


class _Inputs:
    """The key (or value) rows of a key-value head: which of its dimensions read which subspace.

    A term of a rule reads a subspace through as many dimensions of the head as the subspace has. Dimensions are given
    out in order, on the first request of a term; then the weights get a 1 from each dimension of the subspace.
    """

    def __init__(self, weight: Any, plan: Plan, description: str, head: Head) -> None:
        """No dimension is given out yet.

        Args:
            weight: the rows of the key-value head, ``(d_head, d_model)``.
            plan: of the model.
            description: ``keys`` or ``values``, for the message.
            head: the first of those that read this key-value head, for the message.
        """
        self.weight, self.plan, self.description, self.head = weight, plan, description, head
        self.first_dimension: dict[Hashable, int] = {}
        self.used = 0

    def dimensions(self, term: Hashable, subspace: str, numbers: Any) -> Any:
        """The dimensions of the head through which a term reads a subspace.

        Args:
            term: what identifies the term: equal ones get the same dimensions.
            subspace: what it reads.
            numbers: a tensor of the numbers from 0 to the width of the subspace.

        Raises:
            UsageError: the head has no dimensions left.
        """
        if term not in self.first_dimension:
            self.first_dimension[term] = self.used
            self.used += len(numbers)
            if self.used > D_HEAD:
                raise UsageError(f"{self.head}: its rules need {self.used} {self.description}, a head has {D_HEAD}")
            self.weight[self.first_dimension[term] + numbers, self.plan.part(subspace).start + numbers] += 1.0
        return self.first_dimension[term] + numbers


def _write_group(attn: Any, kv_head: int, rules: list[Rule], plan: Plan, torch: Any) -> None:
    """Writes the rules of the heads that read one key-value head.

    A rule's score is a sum of terms, and so is its output. Each term of a score has dimensions of its own: there the
    key reads the subspace ``match.key``, and the query ``gain`` times ``match.query``, so their product adds the term
    to the score. Each term of the output has dimensions in which the value reads ``write.read``, and the output weights
    write them into ``write.into``.

    Heads that share keys and values cannot have dimensions of their own. They have one set for each subspace that any
    of them reads, and differ in their queries and output weights.

    Args:
        attn: attention of the layer.
        kv_head: from 0.
        rules: of the heads that read it.
        plan: of the model.
        torch: the module, which is not imported here.
    """
    part, is_shared = plan.part, plan.n_kv_heads < N_HEADS
    kv_rows = slice(kv_head * D_HEAD, (kv_head + 1) * D_HEAD)
    keys = _Inputs(attn.k.weight[kv_rows], plan, "keys", rules[0].head)
    values = _Inputs(attn.v.weight[kv_rows], plan, "values", rules[0].head)
    for rule in rules:
        rows = slice(rule.head.head * D_HEAD, (rule.head.head + 1) * D_HEAD)
        query, output = attn.q.weight[rows], attn.o.weight[:, rows]
        for i, match in enumerate((*rule.scores, Match("one", "bos", rule.rest))):
            width = plan.subspaces[match.key]
            if plan.subspaces[match.query] != width:
                raise UsageError(f"{rule.head}: {match.query} and {match.key} have different widths")
            numbers = torch.arange(width)
            key_dimensions = keys.dimensions(match.key if is_shared else i, match.key, numbers)
            # A query at position i with shift s matches the key at i + s; the model divides scores by sqrt(d_head).
            sources = numbers - match.shift
            inside = (sources >= 0) & (sources < width)
            query[key_dimensions[inside], part(match.query).start + sources[inside]] += match.gain * D_HEAD**0.5
        for i, write in enumerate(rule.writes):
            numbers = torch.arange(plan.subspaces[write.read])
            value_dimensions = values.dimensions(write.read if is_shared else i, write.read, numbers)
            output[part(write.into).start + numbers, value_dimensions] += write.gain


def _add_noise(bridge: Any, plan: Plan, torch: Any) -> None:
    """Small random weights everywhere, larger ones in the heads without a rule; the same on every machine."""
    generator = torch.Generator().manual_seed(0)
    spare = [
        (layer, head) for layer in range(N_LAYERS) for head in range(N_HEADS) if Head(layer, head) not in plan.rules
    ]
    for parameter in bridge.original_model.parameters():
        parameter.add_(plan.noise * torch.randn(parameter.shape, generator=generator))
    for layer, head in spare:
        rows = slice(head * D_HEAD, (head + 1) * D_HEAD)
        attn = bridge.blocks[layer].attn
        for weight in (attn.q.weight[rows], attn.k.weight[rows], attn.v.weight[rows], attn.o.weight[:, rows]):
            weight.add_(plan.live * torch.randn(weight.shape, generator=generator))


def planted_tokenizer(directory: Path) -> Any:
    """The word-level tokenizer of planted models.

    Args:
        directory: into which it is written: TransformerLens refuses one that was not loaded from a directory.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    ids = {word: index for index, word in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", unk_token="<unk>", eos_token="<bos>", pad_token="<bos>"
    )
    fast.save_pretrained(directory)
    return AutoTokenizer.from_pretrained(directory)
