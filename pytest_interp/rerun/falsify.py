"""Whether a claim would have failed if it were false: it is run again on damaged weights and by wrong protocols.

Each such run is a *mutant*. A mutant *kills* a claim if a verdict on it is refuted; inconclusive, not applicable and
error are no kill and are counted apart. The quantity that a claim measures (``common/quantities.py``) decides on which
mutants the claim must die (at least one has to kill it) and on which it must live (none may kill it). For a claim that
names heads, only damage to those heads counts as a kill; a model with random weights counts for other claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_interp.checkpoints.damage import Damage, damaged
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head
from pytest_interp.ledger.record import Record
from pytest_interp.ledger.reruns import Mutant
from pytest_interp.rerun.exchange import exchanges
from pytest_interp.rerun.mutants import MEANING, ON_HEADS, WITHOUT_HEADS, Expected, kind_of
from pytest_interp.rerun.trial import Body, Trial
from pytest_interp.tasks.protocols import WRONG, Protocol, runs_exchanged

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

OfPartners: TypeAlias = Literal["refuted", "not refuted", "cannot be asked"]
"""The verdict on a claim that is made about other heads of the undamaged model."""


def heads_of(records: Sequence[Record]) -> tuple[Head, ...]:
    """The heads that a claim names, by the records of its verdicts.

    Returns:
        The heads, sorted; none for a claim that some head has a property, whichever it is.
    """
    contexts = [record.context for record in records if not record.context.claim]
    named = {head for context in contexts for head in (*(context.heads or ()), *context.knocked_out)}
    return tuple(sorted(head for head in named if isinstance(head, Head)))


def falsify(
    body: Body, records: Sequence[Record], checkpoint: Checkpoint, *, everything: bool, seed: int = 0
) -> list[Mutant]:
    """Runs a claim on its mutants: first those on which it must live, then those on which it must die.

    Args:
        body: the claim, which was supported.
        records: of its verdicts.
        checkpoint: the model; its weights are afterwards as they were, bit for bit.
        everything: whether to run all mutants; otherwise the first kill that counts ends the run.
        seed: of random weights, and of the heads to exchange with.

    Returns:
        The mutants with what was seen on each, in the order in which they were run.
    """
    kind, heads = kind_of(records), heads_of(records)
    runner = _MutantRunner(body, records, checkpoint, heads, seed)
    mutants = [runner.run(name, "live") for name in kind.live if name != "exchanged" or runner.exchangeable]
    for name in kind.die:
        if name in (WITHOUT_HEADS if heads else ON_HEADS):
            continue
        mutant = runner.run(name, "die")
        mutants.append(mutant)
        if not everything and mutant.seen == "killed" and (mutant.on_heads or not heads):
            break
    return mutants


def verdict_of(mutants: Sequence[Mutant], *, names_heads: bool) -> str:
    """The complaint about a claim that its mutants show, with advice; empty where it died and lived as it must.

    Args:
        mutants: of the claim, with what was seen.
        names_heads: whether the claim names heads; then only damage to heads counts as a kill.
    """
    wrong = [mutant for mutant in mutants if mutant.expected == "live" and mutant.seen == "killed"]
    if wrong:
        return (
            f"refuted where {MEANING.get(wrong[0].name, wrong[0].name)}, which must not matter to it: it measures "
            "something else than it says"
        )
    dying = [mutant for mutant in mutants if mutant.expected == "die"]
    if any(mutant.seen == "killed" and (mutant.on_heads or not names_heads) for mutant in dying):
        return ""
    tried = "; ".join(f"{mutant.name}: {mutant.seen}" for mutant in dying) or "none applies"
    damage = "a damage to the heads that it names" if names_heads else "any mutant"
    return (
        f"it would have passed if it were false: not refuted by {damage} ({tried}). Give it a tighter bound, a "
        "positive beside a claim of absence, or heads that can be told from others"
    )


def died(mutants: Sequence[Mutant]) -> str:
    """How many mutants killed a claim, of those that could: ``died on 4 of 4``.

    Example:
        >>> died([Mutant("zeroed", "die", "killed", "", True), Mutant("flipped", "die", "survived", "", True)])
        'died on 1 of 2'
    """
    without_meaning = ("equivalent", "not applicable")
    dying = [mutant for mutant in mutants if mutant.expected == "die" and mutant.seen not in without_meaning]
    killed = sum(mutant.seen == "killed" for mutant in dying)
    return f"died on {killed} of {len(dying)}"


class _MutantRunner:
    """Runs one claim on its mutants.

    Attributes:
        body: the claim.
        records: of its verdicts on the undamaged model.
        checkpoint: the model.
        heads: the heads that the claim names.
        exchangeable: the heads that are exchanged: the claim's own, else all heads of the circuit.
        seed: of random weights, and of the heads to exchange with.
    """

    def __init__(
        self, body: Body, records: Sequence[Record], checkpoint: Checkpoint, heads: tuple[Head, ...], seed: int
    ) -> None:
        self.body, self.records, self.checkpoint, self.heads, self.seed = body, records, checkpoint, heads, seed
        circuit = checkpoint.circuit
        self.exchangeable = heads or (tuple(sorted(circuit.acting)) if circuit else ())

    def run(self, name: str, expected: Expected) -> Mutant:
        """The mutant of this name, with what was seen on it."""
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
        """The wrong protocol of this name; "runs exchanged" takes the corruption that the claim uses."""
        used = {record.context.corruption for record in self.records} - {None}
        if name == "runs exchanged" and used:
            if len(used) > 1:
                raise NotApplicable("it uses several corruptions")
            return partial(runs_exchanged, corruption=used.pop())
        return WRONG[name]

    def _damage(self, name: str, expected: Expected) -> Damage:
        """The damage to the weights that a mutant's name stands for."""
        heads = self.heads
        if expected == "live":
            # A claim must survive damage to what its heads write themselves. Earlier heads of a claimed set also feed
            # the later ones, which may matter, so only the heads of the last layer are damaged.
            heads = tuple(head for head in heads if head.layer == max(other.layer for other in heads))
        if name == "random weights":
            return Damage("random", seed=self.seed)
        if name == "later heads zeroed":
            first = min(head.layer for head in self.heads)
            later = tuple(head for head in self.checkpoint.shape.heads if head.layer > first and head not in self.heads)
            if not later:
                raise NotApplicable("no head comes after those that are knocked out")
            return Damage("zeroed", later)
        if name == "borrowed":
            partner = next(iter(self._exchanges(within_groups=True)), None)
            if not partner:
                raise NotApplicable("no other head whose OV circuit could be put under their attention")
            return Damage("borrowed", heads, {head: partner[head] for head in heads if head in partner})
        return Damage("zeroed" if name == "zeroed" else "flipped", heads)

    def _damaged(self, damage: Damage) -> Trial:
        with damaged(self.checkpoint, damage):
            return self.body.run()

    def _exchanged(self, expected: Expected) -> Mutant:
        """The mutant whose claimed heads have traded places with other heads of their layers.

        A claim can only die on an exchange if it is false of the other heads. So for each possible exchange:

        1. The claim is made about the other heads, in the undamaged model. If it is not refuted there, this exchange
           proves nothing, and the next one is tried. (A claim that must live is not asked.)
        2. The heads are exchanged, and the claim is run. The result counts if step 1 refuted the claim. Heads that are
           written in the claim's body cannot be replaced in step 1; then the result counts if the claim is refuted.

        If no result counts, the mutant is *equivalent*: the claim is as true of all heads that could take the place.
        """
        on_heads = bool(self.heads)
        trial: Trial | None = None
        has_partners = False
        for partner in self._exchanges(within_groups=False):
            has_partners = True
            of_partners = "refuted" if expected == "live" else self._of_partners(partner)
            if of_partners == "not refuted":
                continue
            trial = self._damaged(Damage("exchanged", self.exchangeable, partner))
            if of_partners == "refuted" or trial.seen == "killed":
                return Mutant("exchanged", expected, trial.seen, trial.reason, on_heads)
        if not has_partners:
            reason = "no other head in their layers to exchange them with"
            return Mutant("exchanged", expected, "not applicable", reason, on_heads)
        reason = "it is not refuted of the heads that could take their place either"
        seen = "equivalent" if trial is None or trial.seen == "survived" else trial.seen
        return Mutant("exchanged", expected, seen, reason, on_heads)

    def _of_partners(self, partner: Mapping[Head, Head]) -> OfPartners:
        """The verdict on the same claim about the other heads, in the undamaged model."""
        circuit = self.checkpoint.circuit
        with self.checkpoint.claiming(circuit.renamed(partner) if circuit else None):
            trial = self.body.naming(partner).run()
        if trial.records and heads_of(trial.records) == heads_of(self.records[: len(trial.records)]):
            return "cannot be asked"
        return "refuted" if trial.seen == "killed" else "not refuted"

    def _exchanges(self, *, within_groups: bool) -> Iterator[dict[Head, Head]]:
        shape = self.checkpoint.shape
        return exchanges(
            self.exchangeable, shape.n_heads, shape.n_kv_heads, within_groups=within_groups, seed=self.seed
        )
