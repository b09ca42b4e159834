"""The planted models, and what must be measured on each: the truth that follows from its construction.

One model is not enough. In ``planted-ioi`` heads without a rule are exactly zero, nothing is normalised and no MLP does
anything. Each of the others changes one of these.

Example:
    >>> sorted(PLANS)
    ['planted-chain', 'planted-gqa', 'planted-ioi', 'planted-mlp0', 'planted-noisy']
    >>> round(TRUTH["planted-ioi"].clean, 2)  # the logit difference
    8.86
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp

from pytest_interp.checkpoints.planted.build import Plan
from pytest_interp.checkpoints.planted.rules import RULES, Match, Rule, Write
from pytest_interp.heads import Head

MOVERS = ("3.0", "3.1", "3.2")

# The movers' attention to IO where S1 and S2 have the inhibition h: 1 / (1 + 2 exp(-h)), and to S together the rest.
_FULL, _HALF = ((1 - 2 * exp(-h)) / (1 + 2 * exp(-h)) for h in (6, 3))


@dataclass(frozen=True)
class Truth:
    """The numbers that follow from the construction of a planted model on IOI prompts.

    Attributes:
        clean: the logit difference.
        without: the logit difference without heads, by their names.
        writes: the direct logit attribution of heads at END, in logits; it is 0 for every other head.
        copies: heads with a copy score of 1.
        suppresses: heads with a negative copy score of 1.
        redundant: heads that have no effect alone, since others do the same.
        tolerance: how far measured numbers may be off, in logits: small terms of softmaxes, noise and norms are left
            out here.
    """

    clean: float
    without: Mapping[tuple[str, ...], float]
    writes: Mapping[str, float]
    copies: tuple[str, ...] = (*MOVERS, "4.1")
    suppresses: tuple[str, ...] = ("4.0",)
    redundant: tuple[str, ...] = ("4.1",)
    tolerance: float = 0.03


_CLEAN = 13 * _FULL - 4 - 10 * exp(-6.4)
_IOI = Truth(
    # The movers' gains are 13, the negative head's 4; the resting backup leaves a little on S1 and S2.
    clean=_CLEAN,
    without={
        # Either way to the inhibition carries half of it, and the other way stays.
        **{(head,): 13 * _HALF - 4 for head in ("0.0", "0.1", "1.0", "2.0", "2.1")},
        # Without any, S gets twice the attention of IO, and the negative head takes S off.
        ("2.0", "2.1"): -13 / 3 + 4,
        ("0.0", "0.1"): -13 / 3 + 4,
        # The backup alone, gain 5, less what BOS and S keep.
        MOVERS: 5 * (1 - 2 * exp(-12)) / (1 + exp(-6) + 2 * exp(-12)),
        (*MOVERS, "4.1"): 0,
        ("4.0",): 13 * _FULL,
        ("4.1",): 13 * _FULL - 4,
    },
    writes={"3.0": 6 * _FULL, "3.1": 4 * _FULL, "3.2": 3 * _FULL, "4.0": -4},
)


def _chain() -> Mapping[Head, Rule]:
    """The duplicated flag comes from the induction head alone, which reads the previous-token head."""
    rules = {head: rule for head, rule in RULES.items() if head != Head(0, 1)}
    induction = rules[Head(1, 0)]
    rules[Head(1, 0)] = replace(induction, writes=(Write("token", "output", 1), Write("not_bos", "duplicated", 1)))
    second = rules[Head(2, 1)]
    rules[Head(2, 1)] = replace(second, scores=(second.scores[0], Match("is_end", "duplicated", 20)))
    return rules


def _through_mlp0() -> Mapping[Head, Rule]:
    """What writes a name reads it where only the first MLP puts it."""
    return {
        head: replace(rule, writes=tuple(replace(w, read="readable") if w.into == "output" else w for w in rule.writes))
        if head.layer >= 3
        else rule
        for head, rule in RULES.items()
    }


PLANS: Mapping[str, Plan] = {
    "planted-ioi": Plan(RULES),
    "planted-chain": Plan(_chain()),
    "planted-mlp0": Plan(_through_mlp0(), readable=True),
    "planted-noisy": Plan(RULES, noise=0.002, live=0.02),
    "planted-gqa": Plan(RULES, n_kv_heads=2, rms=True),
}

TRUTH: Mapping[str, Truth] = {
    "planted-ioi": _IOI,
    "planted-chain": replace(
        _IOI,
        without={
            # A chain has no second way: each link alone is the whole inhibition.
            **{(head,): -13 / 3 + 4 for head in ("0.0", "1.0")},
            **{(head,): 13 * _HALF - 4 for head in ("2.0", "2.1")},
            **{heads: value for heads, value in _IOI.without.items() if heads in (("2.0", "2.1"), MOVERS, ("4.0",))},
        },
        redundant=("4.1", "0.1"),
    ),
    # The same numbers, but a head reads no name that has not passed the first MLP.
    "planted-mlp0": _IOI,
    # Every weight a little off: the same circuit, no exact zeros, and spare heads that do something.
    "planted-noisy": replace(_IOI, tolerance=0.6),
    "planted-gqa": replace(_IOI, tolerance=0.05),
}
