"""Would a claim have failed if it were false? It is run again on damaged weights and by wrong protocols.

A *kill* is a verdict that is refuted; inconclusive, not applicable and error are no kill and are counted apart. What a
claim measures decides (``common/quantities.py``) on which mutants it must die (one of them has to kill it) and on which
it must live (none of them may). A claim that names heads must die on a damage to those heads; a model with weights
drawn anew counts for claims without heads only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_interp.checkpoints.damage import Damage, damaged
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head
from pytest_interp.ledger.outcome import Mutant
from pytest_interp.ledger.record import Record
from pytest_interp.rerun.mutants import MEANING, ON_HEADS, WITHOUT_HEADS, Expected, contexts_of, kind_of
from pytest_interp.rerun.trial import Body, Trial
from pytest_interp.tasks.protocols import WRONG, Protocol, runs_exchanged

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

_TRIES = 4
_AS_TRUE = "it is not refuted of the heads that could take their place either"


def heads_of(records: Sequence[Record]) -> tuple[Head, ...]:
    """The heads that a claim names; none where it says that some head does it, whichever it is."""
    contexts = [context for context in contexts_of(records) if not context.claim]
    named = {head for context in contexts for head in (*(context.heads or ()), *context.knocked_out)}
    return tuple(sorted(head for head in named if isinstance(head, Head)))


def falsify(
    body: Body, records: Sequence[Record], checkpoint: Checkpoint, *, everything: bool, seed: int = 0
) -> list[Mutant]:
    """The claim on its mutants: those on which it must live, then those on which it must die until one kills it.

    Args:
        body: the claim, which was supported.
        records: of its verdicts.
        checkpoint: the model; as it was, bit for bit, afterwards.
        everything: the whole matrix, not only until the first kill.
        seed: of random weights, and of which heads are taken to exchange with.
    """
    kind, heads = kind_of(records), heads_of(records)
    lab = _Lab(body, records, checkpoint, heads, seed)
    seen = [lab.on(name, "live") for name in kind.live if heads or name != "exchanged" or lab.any_heads]
    for name in kind.die:
        if name in (WITHOUT_HEADS if heads else ON_HEADS):
            continue
        seen.append(lab.on(name, "die"))
        if not everything and seen[-1].seen == "killed" and (seen[-1].on_heads or not heads):
            break
    return seen


def verdict_of(mutants: Sequence[Mutant], *, names_heads: bool) -> str:
    """Why a claim has no teeth, or too many, with advice; empty where it died and lived as it must."""
    wrong = [mutant for mutant in mutants if mutant.expected == "live" and mutant.seen == "killed"]
    if wrong:
        return (
            f"refuted where {MEANING.get(wrong[0].name, wrong[0].name)}, which must not matter to it: it measures "
            "something else than it says"
        )
    dying = [mutant for mutant in mutants if mutant.expected == "die"]
    enough = [mutant for mutant in dying if mutant.seen == "killed" and (mutant.on_heads or not names_heads)]
    if enough:
        return ""
    tried = "; ".join(f"{mutant.name}: {mutant.seen}" for mutant in dying) or "none applies"
    where = "a damage to the heads that it names" if names_heads else "any mutant"
    return (
        f"it would have passed if it were false: not refuted by {where} ({tried}). Give it a tighter bound, a positive "
        "beside a claim of absence, or heads that can be told from others"
    )


def died(mutants: Sequence[Mutant]) -> str:
    """For a claim's line: ``died on 4 of 4``."""
    idle = ("equivalent", "not applicable")
    dying = [mutant for mutant in mutants if mutant.expected == "die" and mutant.seen not in idle]
    killed = sum(mutant.seen == "killed" for mutant in dying)
    return f"died on {killed} of {len(dying)}"


class _Lab:
    """Where one claim meets its mutants."""

    def __init__(
        self, body: Body, records: Sequence[Record], checkpoint: Checkpoint, heads: tuple[Head, ...], seed: int
    ) -> None:
        self.body, self.records, self.checkpoint, self.heads, self.seed = body, records, checkpoint, heads, seed
        circuit = checkpoint.circuit
        self.any_heads = heads or (tuple(sorted(circuit.heads)) if circuit else ())

    def on(self, name: str, expected: Expected) -> Mutant:
        on_heads = name in ON_HEADS
        try:
            if name in WRONG:
                if not self.body.has_prompts:
                    raise NotApplicable("it is measured on the weights alone")
                with self.checkpoint.guard.isolated_memory():
                    trial = self.body.by(self._protocol(name)).run()
            elif name == "exchanged":
                return self._exchanged(expected)
            else:
                trial = self._damaged(self._damage(name, expected))
        except NotApplicable as error:
            trial = Trial("not applicable", [], str(error))
        return Mutant(name, expected, trial.seen, trial.reason, on_heads)

    def _protocol(self, name: str) -> Protocol:
        used = {context.corruption for context in contexts_of(self.records)} - {None}
        if name == "runs exchanged" and used:
            if len(used) > 1:
                raise NotApplicable("it uses several corruptions")
            return partial(runs_exchanged, corruption=used.pop())
        return WRONG[name]

    def _damage(self, name: str, expected: Expected) -> Damage:
        heads = self.heads
        if expected == "live":
            # What must not matter to a head is what it writes itself, not what earlier heads hand on to it.
            heads = tuple(head for head in heads if head.layer == max(other.layer for other in heads))
        if name == "random weights":
            return Damage("random", seed=self.seed)
        if name == "later heads zeroed":
            first = min(head.layer for head in self.heads)
            every = self.checkpoint.shape.heads
            later = tuple(head for head in every if head.layer > first and head not in self.heads)
            if not later:
                raise NotApplicable("no head comes after those that are knocked out")
            return Damage("zeroed", later)
        if name == "borrowed":
            partner = next(iter(self._partners(within_groups=True)), None)
            if not partner:
                raise NotApplicable("no other head whose OV circuit could be put under their attention")
            return Damage("borrowed", heads, {head: partner[head] for head in heads if head in partner})
        return Damage("zeroed" if name == "zeroed" else "flipped", heads)

    def _damaged(self, damage: Damage) -> Trial:
        with damaged(self.checkpoint, damage):
            return self.body.run()

    def _exchanged(self, expected: Expected) -> Mutant:
        """Exchanged with heads of which the claim was first measured false; equivalent where there are none.

        Where the heads are written in the claim's body it cannot be asked of others first: then it is exchanged with
        one after the other until it is refuted.
        """
        trial: Trial | None = None
        reason = "no other head in their layers to exchange them with"
        for partner in self._partners(within_groups=False):
            false = True if expected == "live" else self._false_of(partner)
            reason = _AS_TRUE
            if false is False:
                continue
            trial = self._damaged(Damage("exchanged", self.any_heads, partner))
            if false or trial.seen == "killed":
                return Mutant("exchanged", expected, trial.seen, trial.reason, on_heads=bool(self.heads))
        equal = reason == _AS_TRUE and (trial is None or trial.seen == "survived")
        seen = "equivalent" if equal else trial.seen if trial else "not applicable"
        return Mutant("exchanged", expected, seen, reason, on_heads=bool(self.heads))

    def _false_of(self, partner: Mapping[Head, Head]) -> bool | None:
        """Whether the claim, asked of the others in the undamaged model, is refuted; None where it cannot be asked."""
        circuit = self.checkpoint.circuit
        with self.checkpoint.claiming(circuit.renamed(partner) if circuit else None):
            trial = self.body.naming(partner).run()
        if trial.records and heads_of(trial.records) == heads_of(self.records[: len(trial.records)]):
            return None
        return trial.seen == "killed"

    def _partners(self, *, within_groups: bool) -> Iterator[dict[Head, Head]]:
        """Ways to exchange the heads with others of their layers: of one head nearly all, else a few drawn ones."""
        rng = random.Random(f"{self.seed} {self.any_heads}")
        shape = self.checkpoint.shape
        size = shape.n_heads // shape.n_kv_heads
        seen: list[dict[Head, Head]] = []
        for _ in range(_TRIES * (shape.n_heads if len(self.any_heads) == 1 else 1)):
            for units in (1,) if within_groups or size == 1 else (size, 1):
                partner: dict[Head, Head] = {}
                for layer in sorted({head.layer for head in self.any_heads}):
                    partner |= _swaps(layer, self.any_heads, shape.n_heads, size, units, rng)
                if partner and partner not in seen:
                    seen.append(partner)
                    yield partner


def _swaps(layer: int, heads: Sequence[Head], n: int, size: int, units: int, rng: random.Random) -> dict[Head, Head]:
    """Exchanges of a layer's claimed heads with unclaimed ones, as many as there are.

    Args:
        layer: the layer.
        heads: the claimed heads.
        n: heads of a layer.
        size: query heads that share a key-value head.
        units: what is exchanged: single heads (of one group), or whole groups of ``size``.
        rng: chooses.
    """
    mine = {head.head // units for head in heads if head.layer == layer}
    partner: dict[Head, Head] = {}
    # Single heads are exchanged within their group, whole groups with any other.
    pools: dict[Any, list[int]] = {}
    for unit in range(n // units):
        if unit not in mine:
            pools.setdefault(unit // size if units == 1 and size > 1 else 0, []).append(unit)
    for pool in pools.values():
        rng.shuffle(pool)
    for unit in sorted(mine):
        pool = pools.get(unit // size if units == 1 and size > 1 else 0, [])
        if pool:
            other = pool.pop()
            # Within a group any head may come to stand anywhere.
            for i, j in enumerate(rng.sample(range(units), units)):
                a, b = Head(layer, unit * units + i), Head(layer, other * units + j)
                partner |= {a: b, b: a}
    return partner
