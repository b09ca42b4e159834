"""On which mutants a claim must die and on which it must live, by what it measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_interp.common.context import Context
from pytest_interp.tasks.protocols import WRONG
from pytest_interp.verdict.recording import Record

Expected: TypeAlias = Literal["die", "live"]

ON_HEADS = ("exchanged", "zeroed", "flipped", "borrowed", "later heads zeroed")
WITHOUT_HEADS = ("random weights",)
MUTANTS = (*ON_HEADS, *WITHOUT_HEADS, *WRONG)

MEANING = {
    "exchanged": "the claimed heads trade places with others of their layer",
    "zeroed": "what the claimed heads write is zero",
    "flipped": "what the claimed heads write has the other sign",
    "borrowed": "the claimed heads write through the OV circuit of another head",
    "later heads zeroed": "what every other head after the first claimed one writes is zero",
    "random weights": "every weight of the model is drawn anew",
    "END one earlier": "logits and attention are read one token before END",
    "others one earlier": "every position but END is one token too early",
    "S1 read for S2": "the position S2 is where S1 is",
    "S2 read for END": "the position END is where S2 is",
    "names permuted": "prompts are scored with the names of others",
    "answer exchanged": "the distractor is taken for the answer",
    "runs exchanged": "the corrupted run is taken for the clean one",
}


@dataclass(frozen=True)
class Kind:
    """On which mutants a claim about a quantity must die, in the order they are tried, and on which it must live."""

    die: tuple[str, ...]
    live: tuple[str, ...] = ()


_READOUT = Kind(("answer exchanged", "names permuted", "END one earlier", "random weights"), ("exchanged",))
_WRITES = ("zeroed", "flipped", "exchanged", "borrowed")
_LOOKS = ("zeroed", "flipped", "borrowed")
_PLACES = ("others one earlier", "S2 read for END", "S1 read for S2")
_COPIES = Kind(("flipped", "exchanged", "borrowed"), ("answer exchanged",))

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("logit_diff", "accuracy", "logit_lens", "flips"), _READOUT),
    **dict.fromkeys(("log_prob", "probability", "logit", "rank", "top_k"), _READOUT),
    "loss": Kind(("random weights",), ("exchanged", "answer exchanged", "names permuted")),
    "kl": Kind(("random weights",), ("exchanged",)),
    "direct_logit_attribution": Kind((*_WRITES, "answer exchanged", "names permuted", "random weights")),
    "head_patch_effect": Kind((*_WRITES, "S2 read for END", "answer exchanged", "names permuted", "runs exchanged")),
    "patch_effect": Kind((*_PLACES, "answer exchanged", "names permuted", "runs exchanged"), ("exchanged",)),
    "path_patch_effect": Kind((*_WRITES, "answer exchanged", "names permuted")),
    "ablation_effect": Kind((*_WRITES, "answer exchanged", "names permuted", "runs exchanged")),
    "attention": Kind(("exchanged", "END one earlier", *_PLACES), (*_LOOKS, "answer exchanged")),
    "value_weighted_attention": Kind(("exchanged", "END one earlier", *_PLACES), ("answer exchanged",)),
    "attention_write_correlation": Kind(("flipped", "exchanged", "borrowed"), ("answer exchanged",)),
    **dict.fromkeys(("copy_score", "negative_copy_score", "prompt_copy_score", "negative_prompt_copy_score"), _COPIES),
    "ov_eigenvalue_score": Kind(("flipped", "exchanged", "borrowed")),
    **dict.fromkeys(("previous_token_score", "duplicate_token_score", "induction_score"), Kind(("exchanged",), _LOOKS)),
    "backup_rise": Kind((*_WRITES, "answer exchanged", "names permuted")),
    "self_repair": Kind(("later heads zeroed", "random weights", "END one earlier"), ("answer exchanged",)),
    "some_head": Kind(("answer exchanged", "names permuted", "S2 read for END", "random weights"), ("exchanged",)),
    "faithfulness": Kind(("exchanged", "flipped")),
    "completeness": Kind(("exchanged", "flipped")),
    "minimality": Kind((*_WRITES, "answer exchanged")),
}
OTHER = Kind(("random weights", "answer exchanged", "names permuted", "END one earlier"))
"""For a quantity of the user's own."""

OTHER_OF_HEADS = Kind((*_WRITES, *OTHER.die))
"""For one that names heads."""

WITHOUT = Kind(("exchanged", *_READOUT.die))
"""For the logit difference that is left without heads: what they write is gone already, which they are is not."""

_RATIOS = ("recovered", "of clean", "of model")


def contexts_of(records: Sequence[Record]) -> list[Context]:
    """What each verdict of a claim was measured on."""
    return [Context.from_json(record["about"]) for record in records]


def kind_of(records: Sequence[Record]) -> Kind:
    """The mutants for a claim: it may die by any of its quantities, and must live only where all of them must."""
    kinds = [_kind(record) for record in records]
    die = tuple(dict.fromkeys(name for kind in kinds for name in kind.die))
    live = tuple(name for name in kinds[0].live if all(name in kind.live for kind in kinds) and name not in die)
    return Kind(die, live)


def _kind(record: Record) -> Kind:
    context, quantity = Context.from_json(record["about"]), record["quantity"].removesuffix("_gap")
    kind = KINDS.get(context.claim or quantity) or (OTHER_OF_HEADS if context.heads else OTHER)
    if quantity == "logit_diff" and context.knocked_out:
        kind = WITHOUT
    # A share of an effect, and a divergence, are the same whatever the sign of what is scored.
    if record["unit"] in _RATIOS or (context.metric or "").startswith("kl"):
        signs = ("answer exchanged", "runs exchanged")
        live = ("answer exchanged",) if "answer exchanged" in kind.die else ()
        return Kind(tuple(name for name in kind.die if name not in signs), (*kind.live, *live))
    return kind
