"""The mutants of a claim: on which it must die and on which it must live, by the quantity that it measures.

A mutant is damage (``checkpoints/damage.py``) or a wrong protocol (``tasks/protocols.py``). It has a name and a meaning
here, and ``common/quantities.py`` says which quantities must notice it. CONTRIBUTING.md has the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from pytest_interp.common.quantities import QUANTITIES, READOUT, WRITES, Mutants
from pytest_interp.ledger.record import Record
from pytest_interp.tasks.protocols import WRONG

Expected: TypeAlias = Literal["die", "live"]

ON_HEADS = ("exchanged", "zeroed", "flipped", "borrowed", "later heads zeroed")
"""Damages to heads; for claims that name heads."""
WITHOUT_HEADS = ("random weights",)
"""Damages to the whole model; for claims that name no heads."""
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

OTHER = Mutants(("random weights", "answer exchanged", "names permuted", "END one earlier"))
"""For a user's own quantity."""

OTHER_OF_HEADS = Mutants((*WRITES, *OTHER.die))
"""For a user's own quantity of heads."""

WITHOUT = Mutants(("exchanged", *READOUT.die))
"""For the logit difference with heads knocked out: damage to what they write changes nothing, but an exchange does."""

_RATIOS = ("recovered", "of clean", "of model")
"""Units of quantities that do not change with the sign of the metric."""


def kind_of(records: Sequence[Record]) -> Mutants:
    """The mutants of a claim that may measure several quantities.

    Args:
        records: of its verdicts, at least one.

    Returns:
        ``die``: the mutants on which any of its quantities must die. ``live``: the others on which all of its
        quantities must live.
    """
    kinds = [_kind(record) for record in records]
    die = tuple(dict.fromkeys(name for kind in kinds for name in kind.die))
    live = tuple(name for name in kinds[0].live if all(name in kind.live for kind in kinds) and name not in die)
    return Mutants(die, live)


def _kind(record: Record) -> Mutants:
    """The mutants of one verdict's quantity."""
    context, quantity = record.context, record.quantity.removesuffix("_gap")
    declared = QUANTITIES.get(context.claim or quantity)
    kind = declared.mutants if declared else OTHER_OF_HEADS if context.heads else OTHER
    if quantity == "logit_diff" and context.knocked_out:
        kind = WITHOUT
    # A ratio of effects and a divergence stay the same where the metric changes its sign: mutants that only change the
    # sign cannot kill them, and an exchanged answer must leave them alive.
    if record.unit in _RATIOS or (context.metric or "").startswith("kl"):
        of_sign = ("answer exchanged", "runs exchanged")
        live = ("answer exchanged",) if "answer exchanged" in kind.die else ()
        return Mutants(tuple(name for name in kind.die if name not in of_sign), (*kind.live, *live))
    return kind
