"""The context of a number: the model, prompts, heads and intervention that it was measured with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, KVHead

Json: TypeAlias = str | int | float | bool | Sequence["Json"] | Mapping[str, "Json"] | None


@dataclass(frozen=True)
class CheckpointIdentity:
    """The identity of a checkpoint.

    Attributes:
        name: of the checkpoint.
        fingerprint: of its weights.
        dtype: of its weights, such as ``float32``.
        device: such as ``cpu``.
        precision: ``tf32`` if matrix products are computed in it; else empty.
        words: who shares the words that prompts are drawn from; empty for all single tokens of its own tokenizer.
    """

    name: str
    fingerprint: str
    dtype: str
    device: str
    precision: str = ""
    words: str = ""

    def to_json(self) -> dict[str, Json]:
        """The keys that a record has of it."""
        precision: dict[str, Json] = {"precision": self.precision} if self.precision else {}
        words: dict[str, Json] = {"shared_words": self.words} if self.words else {}
        return {"checkpoint": self.name, "fingerprint": self.fingerprint, "dtype": self.dtype,
                **precision, "device": self.device, **words}  # fmt: skip


@dataclass(frozen=True)
class DataIdentity:
    """The identity of a data set.

    Attributes:
        name: of the data set.
        digest: the hash of its prompts.
        bos: whether BOS stands before each prompt.
        n: the number of prompts.
        seed: the seed they were drawn with; None where nothing was drawn.
        remarks: what a reader of a verdict on it must know, a sentence each.
        texts: the hash of its texts without tokens and BOS, where its words are shared by several tokenizers; else
            empty.
    """

    name: str
    digest: str
    bos: bool
    n: int
    seed: int | None
    remarks: tuple[str, ...] = ()
    texts: str = ""

    @property
    def prompts(self) -> str:
        """The hash that two data sets of the same prompts have in common."""
        return self.texts or self.digest

    def to_json(self) -> dict[str, Json]:
        """The keys that a record has of it."""
        remarks: dict[str, Json] = {"remarks": list(self.remarks)} if self.remarks else {}
        texts: dict[str, Json] = {"text_hash": self.texts} if self.texts else {}
        return {"data": self.name, "data_hash": self.digest, "bos": self.bos, "n": self.n, "data_seed": self.seed,
                **remarks, **texts}  # fmt: skip


@dataclass(frozen=True)
class Ablated:
    """An intervention that replaces the output of heads by a value without information about the prompt.

    Attributes:
        ablation: ``mean``, ``zero``, ``resample`` or ``permute``.
        knocked_out: the ablated heads, if the measured heads are others; else None.
    """

    ablation: str
    knocked_out: tuple[Head, ...] | None


@dataclass(frozen=True)
class Exchanged:
    """A comparison of the clean run with a corrupted one, by patching activations of one run into the other or as is.

    Attributes:
        corruption: the name of the corrupted run.
        direction: ``denoise`` or ``noise``; None if nothing is patched.
    """

    corruption: str
    direction: str | None


@dataclass(frozen=True, kw_only=True)
class Context:
    """The model, prompts, heads and intervention that a number was measured with.

    The fields without a default decide on which mutants a claim about the number must fail. So a measurement must pass
    each of them, and passes None for what it does not have.

    Attributes:
        checkpoint: the model.
        data: the prompts; None for a property of the weights.
        heads: the heads that the number belongs to.
        intervention: the change to the run.
        metric: the metric, if the measurement lets the caller choose it, such as ``kl at END``.
        run: ``clean`` or a corruption.
        at: the position or positions.
        observation: what one value of the measurement is of: ``prompt``, ``name``, ``head``.
        left_out: the number of prompts that the intervention cannot change.
        kv_heads: for each patched key-value head, the query heads that read it.
        claim: the kind of a claim that names no head, if its quantity does not determine its mutants.
        cached: whether the number was read from disk.
        extra: further facts for a reader, by name; no verdict depends on them.

    Raises:
        UsageError: a name in ``extra`` is a key that a record has of another field.
    """

    checkpoint: CheckpointIdentity | None
    data: DataIdentity | None
    heads: tuple[Head | KVHead, ...] | None
    intervention: Ablated | Exchanged | None
    metric: str | None
    run: str | None = None
    at: Json = None
    observation: str = "prompt"
    left_out: int = 0
    kv_heads: Mapping[KVHead, tuple[Head, ...]] = field(default_factory=dict)
    claim: str = ""
    cached: bool = False
    extra: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("kv_heads", "extra"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        taken = self.extra.keys() & (_KEYS if self.data is None else _KEYS | {"n"})
        if taken:
            raise UsageError(f"{min(taken)} is a key that a record has of a field of the context; take another name")

    @property
    def knocked_out(self) -> tuple[Head, ...]:
        """The heads that are knocked out in addition to the measured ones."""
        return (self.intervention.knocked_out or ()) if isinstance(self.intervention, Ablated) else ()

    @property
    def ablation(self) -> str | None:
        """The kind of ablation of a knockout, such as ``mean``."""
        return self.intervention.ablation if isinstance(self.intervention, Ablated) else None

    @property
    def corruption(self) -> str | None:
        """The corrupted run of a patching experiment."""
        return self.intervention.corruption if isinstance(self.intervention, Exchanged) else None

    @property
    def direction(self) -> str | None:
        """The direction of a patching experiment."""
        return self.intervention.direction if isinstance(self.intervention, Exchanged) else None

    @property
    def place(self) -> str:
        """The names of checkpoint and data set, as messages show them; empty without both."""
        return ", ".join(part.name for part in (self.checkpoint, self.data) if part is not None)

    def noting(self, **extra: Json) -> Context:
        """This context with further facts for a reader."""
        return replace(self, extra={**self.extra, **extra})

    def to_json(self) -> dict[str, Json]:
        """The context in builtin types, as records have it; fields that are None or empty have no key."""
        knocked_out = self.intervention.knocked_out if isinstance(self.intervention, Ablated) else None
        parts: dict[str, Json] = {
            **(self.checkpoint.to_json() if self.checkpoint else {}),
            **(self.data.to_json() if self.data else {}),
        }
        named: dict[str, Json] = {
            "heads": None if self.heads is None else _texts(self.heads),
            "knocked_out": None if knocked_out is None else _texts(knocked_out),
            "ablation": self.ablation,
            "direction": self.direction,
            "corruption": self.corruption,
            "metric": self.metric,
            "run": self.run,
            "at": self.at,
            "each": None if self.observation == "prompt" else self.observation,
            "left_out": self.left_out or None,
            "kv_heads": {str(kv): _texts(heads) for kv, heads in self.kv_heads.items()} or None,
            "claim": self.claim or None,
            "cached": self.cached or None,
        }
        return {**parts, **{key: value for key, value in named.items() if value is not None}, **self.extra}

    @classmethod
    def from_json(cls, about: Mapping[str, Any]) -> Context:
        """The context of a record; the inverse of ``to_json``.

        Args:
            about: as ``to_json`` has made it; unknown keys become ``extra``.
        """
        rest = dict(about)
        checkpoint, data = None, None
        intervention: Ablated | Exchanged | None = None
        if "checkpoint" in rest:
            name, weights, dtype, device = (rest.pop(key) for key in ("checkpoint", "fingerprint", "dtype", "device"))
            checkpoint = CheckpointIdentity(
                name, weights, dtype, device, rest.pop("precision", ""), rest.pop("shared_words", "")
            )
        if "data" in rest:
            name, digest, bos, n, seed = (rest.pop(key) for key in ("data", "data_hash", "bos", "n", "data_seed"))
            remarks, texts = tuple(rest.pop("remarks", ())), rest.pop("text_hash", "")
            data = DataIdentity(name, digest, bos, n, seed, remarks, texts)
        if "ablation" in rest:
            intervention = Ablated(rest.pop("ablation"), _heads(rest.pop("knocked_out", None)))
        elif "corruption" in rest:
            intervention = Exchanged(rest.pop("corruption"), rest.pop("direction", None))
        shared = {KVHead.parse(kv): _heads(heads) or () for kv, heads in rest.pop("kv_heads", {}).items()}
        known = {key: rest.pop(key) for key in _PLAIN if key in rest}
        return cls(
            checkpoint=checkpoint,
            data=data,
            heads=_any_heads(rest.pop("heads", None)),
            intervention=intervention,
            metric=rest.pop("metric", None),
            observation=rest.pop("each", "prompt"),
            kv_heads=shared,
            **known,
            extra=rest,
        )


_PLAIN = ("run", "at", "left_out", "claim", "cached")
_KEYS = {
    *("checkpoint", "fingerprint", "dtype", "device", "precision", "shared_words"),
    *("data", "data_hash", "bos", "data_seed", "remarks", "text_hash"),
    *("heads", "knocked_out", "ablation", "direction", "corruption", "metric", "each", "kv_heads", *_PLAIN),
}
"""The keys that ``from_json`` reads; ``n`` is one of them only where there is a data set."""

NO_CONTEXT = Context(checkpoint=None, data=None, heads=None, intervention=None, metric=None)
"""The context of numbers that were not measured here."""


def _texts(heads: Sequence[Head | KVHead]) -> list[str]:
    return [str(head) for head in heads]


def _any_heads(texts: Sequence[str] | None) -> tuple[Head | KVHead, ...] | None:
    if texts is None:
        return None
    return tuple(KVHead.parse(text) if text.startswith("kv") else Head.parse(text) for text in texts)


def _heads(texts: Sequence[str] | None) -> tuple[Head, ...] | None:
    return None if texts is None else tuple(Head.parse(text) for text in texts)
