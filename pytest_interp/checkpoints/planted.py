"""A transformer whose every head is known, because it was written down and not trained.

The residual stream is a direct sum of named subspaces, each head is one :class:`Rule`, and the weights are
written from the table :data:`RULES`; a variant is a table with a changed row. What each measurement must
give follows from the construction: it judges the measuring code before that code judges a trained model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_interp.errors import UsageError, nearest
from pytest_interp.heads import Head
from pytest_interp.tasks._ioi_words import NAMES, OBJECTS, PLACES, TEMPLATES

if TYPE_CHECKING:
    pass

N_LAYERS, N_HEADS, D_HEAD, N_POSITIONS = 5, 4, 144, 40
N_NAMES, CODE = 40, 64

_SUBSPACES = {
    "token": CODE,  # the token's own code, from the embedding
    "previous": CODE,  # the code of the token before, from head 0.0
    "inhibition": CODE,  # codes that the movers shall not read
    "output": CODE,  # what the unembedding reads
    "position": N_POSITIONS,
    "one": 1,  # set at every token
    "bos": 1,
    "not_bos": 1,
    "is_name": 1,
    "is_end": 1,  # set at " to"
    "duplicated": 1,
    "inducted": 1,
}
D_MODEL = sum(_SUBSPACES.values())
END_WORD = "to"


@dataclass(frozen=True)
class Match:
    """One term of a head's attention score: ``gain * <query part at the destination, key part at the source>``."""

    query: str
    key: str
    gain: float
    shift: int = 0


@dataclass(frozen=True)
class Write:
    """One term of what a head writes: ``gain *`` the source's ``read`` part, into ``into``."""

    read: str
    into: str
    gain: float


@dataclass(frozen=True)
class Rule:
    """What one head does.

    Attributes:
        head: layer and head.
        role: for the circuit file and the tests.
        scores: terms of the attention score.
        rest: the score of BOS; where nothing scores higher, the head rests there and writes nothing.
        writes: terms of the output.
    """

    head: Head
    role: str
    scores: tuple[Match, ...]
    rest: float
    writes: tuple[Write, ...]


def _mover(head: Head, gain: float, role: str = "name_mover") -> Rule:
    """From END to names that are not inhibited; their code, times ``gain``, to the output."""
    scores = (Match("is_end", "is_name", 20), Match("inhibition", "token", -6))
    return Rule(head, role, scores, 10, (Write("token", "output", gain),))


def _inhibitor(head: Head, flag: str) -> Rule:
    """From END to a name that carries ``flag``; half of its code to the inhibition subspace."""
    scores = (Match("is_end", "is_name", 20), Match("is_end", flag, 20))
    return Rule(head, "s_inhibition", scores, 30, (Write("token", "inhibition", 0.5),))


RULES: Mapping[Head, Rule] = {
    rule.head: rule
    for rule in (
        Rule(
            Head(0, 0),
            "previous_token",
            (Match("position", "position", 40, shift=-1),),
            0,
            (Write("token", "previous", 1),),
        ),
        Rule(
            Head(0, 1),
            "duplicate_token",
            (Match("token", "token", 40), Match("position", "position", -80)),
            30,
            (Write("not_bos", "duplicated", 1),),
        ),
        Rule(
            Head(1, 0),
            "induction",
            (Match("token", "previous", 40),),
            30,
            (Write("token", "output", 1), Write("not_bos", "inducted", 1)),
        ),
        _inhibitor(Head(2, 0), "duplicated"),
        _inhibitor(Head(2, 1), "inducted"),
        _mover(Head(3, 0), 6),
        _mover(Head(3, 1), 4),
        _mover(Head(3, 2), 3),
        Rule(
            Head(4, 0),
            "negative_name_mover",
            (Match("output", "token", 3),),
            15,
            (Write("token", "output", -4),),
        ),
        Rule(
            Head(4, 1),
            "backup_name_mover",
            (Match("is_end", "is_name", 20), Match("inhibition", "token", -12), Match("output", "token", -6)),
            14,
            (Write("token", "output", 5),),
        ),
    )
}


def without(*heads: Head) -> Mapping[Head, Rule]:
    """The table with these heads silent."""
    return {head: rule for head, rule in RULES.items() if head not in heads}


def with_rule(rule: Rule) -> Mapping[Head, Rule]:
    """The table with one row changed or added."""
    return {**RULES, rule.head: rule}


VARIANTS: Mapping[str, Mapping[Head, Rule]] = {"planted-ioi": RULES}


@cache
def vocabulary() -> tuple[str, ...]:
    """BOS, unknown, the first 40 names, then every other word of the IOI prompts in order of appearance."""
    words: dict[str, None] = {"<bos>": None, "<unk>": None}
    words.update(dict.fromkeys(_planted_names()))
    for text in (*TEMPLATES, *PLACES, *OBJECTS):
        for slot in ("{A}", "{B}", "{S}", "{place}", "{object}"):
            text = text.replace(slot, " ")  # noqa: PLW2901
        words.update(dict.fromkeys(text.replace(",", " ,").replace(".", " .").split()))
    return tuple(words)


def _planted_names() -> tuple[str, ...]:
    """Twenty names of each half of the list."""
    return NAMES[:N_NAMES]


@cache
def codes() -> tuple[tuple[float, ...], ...]:
    """The code of each token: names orthonormal, BOS zero, the others unit vectors that overlap by at most a half.

    Signs over a square root, drawn with Python's own generator, so that the weights are the same everywhere.
    """
    rest = CODE - N_NAMES
    rng = random.Random(0)
    signs: list[tuple[int, ...]] = []
    while len(signs) < len(vocabulary()) - 2 - N_NAMES + 1:
        code = tuple(rng.choice((-1, 1)) for _ in range(rest))
        if all(abs(sum(a * b for a, b in zip(code, other, strict=True))) * 2 <= rest for other in signs):
            signs.append(code)
    words = [tuple([0.0] * N_NAMES + [sign / rest**0.5 for sign in code]) for code in signs]
    names = [tuple(float(i == j) for j in range(CODE)) for i in range(N_NAMES)]
    bos = tuple([0.0] * CODE)
    return (bos, words[0], *names, *words[1:])


def build_planted(rules: Mapping[Head, Rule], tokenizer_directory: Path) -> Any:
    """A TransformerBridge with the weights that a table of rules says, and its word-level tokenizer."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer

    _save_tokenizer(tokenizer_directory)
    config = TransformerBridgeConfig(
        d_model=D_MODEL,
        d_head=D_HEAD,
        n_heads=N_HEADS,
        n_layers=N_LAYERS,
        n_ctx=N_POSITIONS,
        d_vocab=len(vocabulary()),
        d_mlp=4,
        act_fn="relu",
        attn_only=False,  # with MLPs absent, the sites resid_mid and mlp_out would be absent too
        normalization_type=None,
        init_weights=False,
        seed=0,
    )
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_directory)
    bridge = TransformerBridge.boot_native(config, tokenizer=tokenizer, device="cpu", model_name="planted")
    _write_weights(bridge, rules)
    return bridge


def _write_weights(bridge: Any, rules: Mapping[Head, Rule]) -> None:
    import torch

    code = torch.tensor(codes())
    words = vocabulary()
    with torch.no_grad():
        for parameter in bridge.original_model.parameters():
            parameter.zero_()
        embedding = bridge.embed.weight
        embedding[:, _part("token")] = code
        embedding[:, _part("one")] = 1
        embedding[:, _part("not_bos")] = 1
        embedding[0, _part("not_bos")] = 0
        embedding[0, _part("bos")] = 1
        embedding[2 : 2 + N_NAMES, _part("is_name")] = 1
        embedding[words.index(END_WORD), _part("is_end")] = 1
        bridge.pos_embed.weight[:, _part("position")] = torch.eye(N_POSITIONS)
        bridge.unembed.weight[:, _part("output")] = code
        for rule in rules.values():
            _write_head(bridge.blocks[rule.head.layer].attn, rule, torch)


def _write_head(attn: Any, rule: Rule, torch: Any) -> None:
    """Query, key, value and output rows of one head; each term has dimensions of its own."""
    rows = slice(rule.head.head * D_HEAD, (rule.head.head + 1) * D_HEAD)
    query, key = attn.q.weight[rows], attn.k.weight[rows]
    at = 0
    for match in (*rule.scores, Match("one", "bos", rule.rest)):
        width = _SUBSPACES[match.key]
        if _SUBSPACES[match.query] != width:
            raise UsageError(f"{rule.head}: {match.query} and {match.key} have different widths")
        # A query at position i with shift s matches the key at i + s; the model divides scores by sqrt(d_head).
        keys = torch.arange(width)
        queries = keys - match.shift
        kept = (queries >= 0) & (queries < width)
        query[(at + keys)[kept], _part(match.query).start + queries[kept]] = match.gain * D_HEAD**0.5
        key[at + keys, _part(match.key).start + keys] = 1.0
        at += width
    value, output = attn.v.weight[rows], attn.o.weight[:, rows]
    at = 0
    for write in rule.writes:
        width = _SUBSPACES[write.read]
        dims = torch.arange(width)
        value[at + dims, _part(write.read).start + dims] = 1.0
        output[_part(write.into).start + dims, at + dims] = write.gain
        at += width


@cache
def _offsets() -> Mapping[str, slice]:
    offsets, at = {}, 0
    for name, width in _SUBSPACES.items():
        offsets[name] = slice(at, at + width)
        at += width
    return offsets


def _part(name: str) -> slice:
    if name not in _SUBSPACES:
        raise UsageError(f"the planted model has no subspace {name!r}{nearest(name, _SUBSPACES)}")
    return _offsets()[name]


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
