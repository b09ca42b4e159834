"""From a plan to a model: the weights that a table of rules says, written into TransformerLens's native transformer."""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True)
class Plan:
    """What a planted model is made of.

    Attributes:
        rules: what each head does.
        readable: names must pass the first MLP, which copies their code into the subspace ``readable``, before a
            head can read them there.
        n_kv_heads: key-value heads of a layer; fewer than heads, neighbours share theirs.
        rms: RMSNorm before each part and at the end. A large constant in a dimension of its own keeps the norm of
            every residual stream the same to one part in ten thousand, and the gains undo it.
        noise: standard deviation of what is added to every weight, relative to the rules' unit weights.
        live: standard deviation of the weights of heads without a rule; 0 leaves them silent.
    """

    rules: Mapping[Head, Rule]
    readable: bool = False
    n_kv_heads: int = N_HEADS
    rms: bool = False
    noise: float = 0.0
    live: float = 0.0

    @property
    def subspaces(self) -> Mapping[str, int]:
        """The parts of the residual stream, by width."""
        more = {"readable": CODE} if self.readable else {}
        return {**SUBSPACES, **more, **({"ballast": 1} if self.rms else {})}

    def part(self, name: str) -> slice:
        """Where a subspace lies in the residual stream."""
        at = 0
        for known, width in self.subspaces.items():
            if known == name:
                return slice(at, at + width)
            at += width
        raise UsageError(f"the planted model has no subspace {name!r}{nearest(name, self.subspaces)}")


def build_planted(plan: Plan | Mapping[Head, Rule], tokenizer_directory: Path) -> Any:
    """A TransformerBridge with the weights that a plan (or a table of rules) says, and its word-level tokenizer."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer

    plan = plan if isinstance(plan, Plan) else Plan(plan)
    _save_tokenizer(tokenizer_directory)
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
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_directory)
    bridge = TransformerBridge.boot_native(config, tokenizer=tokenizer, device="cpu", model_name="planted")
    _write_weights(bridge, plan)
    return bridge


def _write_weights(bridge: Any, plan: Plan) -> None:
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
        size = N_HEADS // plan.n_kv_heads
        for (layer, kv), group in groupby(sorted(plan.rules), key=lambda head: (head.layer, head.head // size)):
            _write_group(bridge.blocks[layer].attn, kv, [plan.rules[head] for head in group], plan, torch)


def _write_group(attn: Any, kv: int, rules: list[Rule], plan: Plan, torch: Any) -> None:
    """Query, key, value and output rows of the heads that share a key-value head.

    Each term of a head has dimensions of its own; heads that share keys and values have one set for each subspace
    that any of them reads, and tell them apart by their queries and outputs.
    """
    part, shared = plan.part, plan.n_kv_heads < N_HEADS
    key, value = (getattr(attn, name).weight[kv * D_HEAD : (kv + 1) * D_HEAD] for name in "kv")
    keys: dict[Any, int] = {}
    values: dict[Any, int] = {}
    used = {"keys": 0, "values": 0}

    def take(what: str, width: int) -> int:
        start = used[what]
        used[what] += width
        if used[what] > D_HEAD:
            raise UsageError(f"{rules[0].head}: its rules need {used[what]} {what}, a head has {D_HEAD}")
        return start

    for rule in rules:
        rows = slice(rule.head.head * D_HEAD, (rule.head.head + 1) * D_HEAD)
        query, output = attn.q.weight[rows], attn.o.weight[:, rows]
        for i, match in enumerate((*rule.scores, Match("one", "bos", rule.rest))):
            width = plan.subspaces[match.key]
            if plan.subspaces[match.query] != width:
                raise UsageError(f"{rule.head}: {match.query} and {match.key} have different widths")
            dims = torch.arange(width)
            slot = match.key if shared else (rule.head, i)
            if slot not in keys:
                keys[slot] = take("keys", width)
                key[keys[slot] + dims, part(match.key).start + dims] += 1.0
            # A query at position i with shift s matches the key at i + s; the model divides scores by sqrt(d_head).
            queries = dims - match.shift
            kept = (queries >= 0) & (queries < width)
            at = (keys[slot] + dims)[kept], part(match.query).start + queries[kept]
            query[at] += match.gain * D_HEAD**0.5
        for i, write in enumerate(rule.writes):
            dims = torch.arange(plan.subspaces[write.read])
            slot = write.read if shared else (rule.head, i)
            if slot not in values:
                values[slot] = take("values", len(dims))
                value[values[slot] + dims, part(write.read).start + dims] += 1.0
            output[part(write.into).start + dims, values[slot] + dims] += write.gain


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


def _save_tokenizer(directory: Path) -> None:
    """A word-level tokenizer; TransformerLens refuses one that was not loaded from a directory."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {word: index for index, word in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", unk_token="<unk>", eos_token="<bos>", pad_token="<bos>"
    )
    fast.save_pretrained(directory)
