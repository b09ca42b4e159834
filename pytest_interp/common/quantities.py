"""Every quantity that the tool measures, declared once: which mutants its claims die on, which values it can have.

The names of mutants are those of ``rerun/mutants.py``. Collecting claims reads this file, so it imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Mutants:
    """On which mutants a claim about a quantity must die, in the order they are tried, and on which it must live."""

    die: tuple[str, ...]
    live: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantity:
    """What is known of a quantity before it is measured.

    Attributes:
        name: as records, snapshots and the bounds of circuit files have it.
        mutants: for claims about it.
        low: the smallest value that it can have.
        high: the largest.
        leaves_open: what it cannot say by itself; empty where there is nothing to add.
        hidden: whether others may stand in for what is taken away, so that no effect may be shown where there is one.
    """

    name: str
    mutants: Mutants
    low: float = -inf
    high: float = inf
    leaves_open: str = ""
    hidden: bool = False


WRITES = ("zeroed", "flipped", "exchanged", "borrowed")
"""The damage to heads that a claim about what they write must notice."""

READOUT = Mutants(("answer exchanged", "names permuted", "END one earlier", "random weights"), ("exchanged",))
"""For what the model says, whichever heads do it."""

_LOOKS = ("zeroed", "flipped", "borrowed")
_PLACES = ("others one earlier", "S2 read for END", "S1 read for S2")
_COPIES = Mutants(("flipped", "exchanged", "borrowed"), ("answer exchanged",))
_DETECTS = Mutants(("exchanged",), _LOOKS)
_SET = Mutants(("exchanged", "flipped"))

_DECLARED = (
    Quantity("logit_diff", READOUT),
    Quantity("accuracy", READOUT),
    Quantity("logit_lens", READOUT),
    Quantity("flips", READOUT),
    Quantity("log_prob", READOUT),
    Quantity("probability", READOUT, low=0, high=1),
    Quantity("logit", READOUT),
    Quantity("rank", READOUT, low=1),
    Quantity("top_k", READOUT),
    Quantity("loss", Mutants(("random weights",), ("exchanged", "answer exchanged", "names permuted")), low=0),
    Quantity("kl", Mutants(("random weights",), ("exchanged",)), low=0),
    Quantity(
        "direct_logit_attribution",
        Mutants((*WRITES, "answer exchanged", "names permuted", "random weights")),
        leaves_open="what a head writes does not say what it reads, nor whether it copies",
    ),
    Quantity(
        "head_patch_effect",
        Mutants((*WRITES, "S2 read for END", "answer exchanged", "names permuted", "runs exchanged")),
        hidden=True,
    ),
    Quantity(
        "patch_effect", Mutants((*_PLACES, "answer exchanged", "names permuted", "runs exchanged"), ("exchanged",))
    ),
    Quantity("path_patch_effect", Mutants((*WRITES, "answer exchanged", "names permuted")), hidden=True),
    Quantity(
        "ablation_effect", Mutants((*WRITES, "answer exchanged", "names permuted", "runs exchanged")), hidden=True
    ),
    Quantity(
        "attention", Mutants(("exchanged", "END one earlier", *_PLACES), (*_LOOKS, "answer exchanged")), low=0, high=1
    ),
    Quantity(
        "attention_entropy",
        Mutants(
            ("exchanged", "END one earlier", *_PLACES, "random weights"),
            (*_LOOKS, "answer exchanged", "names permuted"),
        ),
        low=0,
        leaves_open="a low entropy does not say which position is read: see assert_attention",
    ),
    Quantity("value_weighted_attention", Mutants(("exchanged", "END one earlier", *_PLACES), ("answer exchanged",))),
    Quantity("attention_write_correlation", _COPIES),
    Quantity("copy_score", _COPIES),
    Quantity("negative_copy_score", _COPIES),
    Quantity("prompt_copy_score", _COPIES),
    Quantity("negative_prompt_copy_score", _COPIES),
    Quantity(
        "ov_eigenvalue_score",
        Mutants(("flipped", "exchanged", "borrowed")),
        leaves_open="the score does not tell copying from suppression: see the negative copy score",
    ),
    Quantity("previous_token_score", _DETECTS),
    Quantity("duplicate_token_score", _DETECTS),
    Quantity("induction_score", _DETECTS),
    Quantity("backup_rise", Mutants((*WRITES, "answer exchanged", "names permuted"))),
    Quantity(
        "self_repair",
        Mutants(("later heads zeroed", "random weights", "END one earlier"), ("answer exchanged",)),
        leaves_open="a negative head that falls silent counts as repair: compare knocked_out_attribution_sweep",
    ),
    Quantity(
        "some_head",
        Mutants(("answer exchanged", "names permuted", "S2 read for END", "random weights"), ("exchanged",)),
    ),
    Quantity(
        "faithfulness",
        _SET,
        leaves_open="heads outside that cancel each other do not show: take parts away too (assert_completeness)",
    ),
    Quantity("completeness", _SET),
    Quantity("minimality", Mutants((*WRITES, "answer exchanged")), hidden=True),
)

QUANTITIES: Mapping[str, Quantity] = {quantity.name: quantity for quantity in _DECLARED}
"""By name; circuit files may bound these, and those of a user's own that they declare."""
