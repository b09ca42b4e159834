"""Ledgers for tests of the page: a whole one, a hostile one, a large one, the smallest, and steps of a series."""

from dataclasses import replace
from typing import Any

from records import GPT2, a_run, ledger_of, outcome_of, record, sampled_record

from pytest_interp.heads import Head
from pytest_interp.ledger.ledger import Ledger, NotRun, Pattern, RecordedCheckpoint
from pytest_interp.ledger.profile import Profile, PromptDraw, RoleScores
from pytest_interp.ledger.record import Record, RecordedMember, RecordedSweep, RecordedTable
from pytest_interp.ledger.reruns import Falsified, Movement, Mutant

HOSTILE = "</script><img src=x onerror=alert(1)>\"'`{{ 7*7 }}\u202e\u05e9\u05dc\u05d5\u05dd <!--"
"""A name that would be code where it is not escaped: HTML, attributes, JSON, a template; and right-to-left text."""
CIRCUIT = """checkpoint = "gpt2"
[roles.mover]
heads = ["1.1", "2.0"]
at = "END"
reads = "IO"
source = "a paper"
"""
SWEEP = RecordedSweep(("0", "1"), ("0", "1"), ((0.5, None), (0.0, -0.5)))


def of_head(**changes) -> Record:
    """The verdict of a claim about head 1.1."""
    context = replace(sampled_record().context, heads=(Head(1, 1),))
    return sampled_record(subject="logit_diff of 1.1 on gpt2", context=context, sweep=SWEEP, **changes)


def of_path(sender: Head, receivers: Any, into: str, **changes) -> Record:
    """The verdict on a path."""
    context = replace(sampled_record().context, heads=(sender,), at="END")
    context = context.noting(receivers=receivers, into=into)
    return sampled_record(subject="path", quantity="path_patch_effect", context=context, **changes)


def a_ledger() -> Ledger:
    """A ledger with a claim of each kind."""
    positions = RecordedTable(
        "patch_effect", "recovered", ("layer", "position"),
        tuple((f"{layer} {place}", layer / 10, (0.0, 0.2)) for layer in range(3) for place in ("S2", "END")),
    )  # fmt: skip
    held = of_head(
        controls=(("3.3", -0.061), ("3.4", None)), controls_shown=("3.3 -0.061; 3.4 not applicable",), same=("3.3",),
        specific="also true of 3 of 19 other heads", caveats=("a control does the same: 3.3 -0.061",),
        members=(RecordedMember("1.1", "adds nothing", 0.1, 0.0, (0.0, 0.2), (-0.1, 0.1)),), table=None,
    )  # fmt: skip
    lost = of_head(outcome="refuted", value=0.5, interval=(0.2, 0.8), slack=-0.5, margin=-0.8)
    unsure = of_head(outcome="inconclusive", interval=(0.5, 3.0), margin=-0.5, details={"found": ["1.1"], "worst": "x"})
    claims = (
        outcome_of("holds", held, record(table=positions), of_path(Head(1, 1), ["2.0"], "q")),
        outcome_of("is_lost", of_path(Head(1, 1), "logits", "logits"), lost, reason="refuted\n  logit_diff"),
        outcome_of("is_unsure", unsure, of_path(Head(0, 3), ["1.1", "2.0"], "v"), reason="inconclusive"),
        outcome_of("fails", lost, outcome="xfailed", reason="measured 0.5"),
        outcome_of("does_not_apply", outcome="skipped", when="setup", reason="Skipped: not applicable: no such site"),
    )
    claims = tuple(replace(claim, claim=replace(claim.claim, role="mover")) for claim in claims)
    scores = RoleScores("mover", "END reads IO", ("1.1",), 0.1, {"1.1": 0.5, "1.0": 0.1, "0.0": 0.2}, {})
    draw = PromptDraw("0123", sampled_record().sample, (1.0,), (1.0,), (), (scores,), {"0.0": 1.0, "1.1": -2.0})
    patterns = tuple(Pattern(head, "ioi/confirm", ("Mary", " gave"), ((1.0,), (0.25, 0.75))) for head in ("9.9", "9.8"))
    checkpoint = RecordedCheckpoint("gpt2", CIRCUIT, patterns, (), Profile((draw,)))
    left_out = NotRun("gpt2", "not one of the quick claims (--interp-quick)", 3)
    run = a_run(ended=5, collected=5, flags=("--interp-quick",), not_run=(left_out,))
    return Ledger(run, claims, (checkpoint,))


def smallest_ledger() -> Ledger:
    """A ledger without matrices, circuit, code and values by prompt."""
    outcome = outcome_of("small", record(values=(), sample=None))
    return ledger_of(replace(outcome, claim=replace(outcome.claim, code="")))


def hostile_ledger() -> Ledger:
    """A ledger in which every text of a user is hostile."""
    ledger = a_ledger()
    checkpoint = replace(GPT2, name=HOSTILE)
    sample = replace(sampled_record().sample, labels=(HOSTILE,) * 24)
    cells = tuple((f"{i % 2} {HOSTILE}{i // 2}", 0.5, None) for i in range(4))
    table = RecordedTable(HOSTILE, HOSTILE, ("layer", HOSTILE), cells)
    texts: dict[str, Any] = dict.fromkeys(("subject", "quantity", "unit", "bound", "specific"), HOSTILE)
    texts |= dict.fromkeys(("notes", "caveats", "controls_shown"), (HOSTILE,))
    base = replace(of_head(sample=sample, details={HOSTILE: HOSTILE}, controls=((HOSTILE, 1.0),)), **texts)
    other = of_head(sample=sample, table=table)
    bad = replace(base, context=replace(base.context, checkpoint=checkpoint))
    path = replace(of_path(Head(1, 1), ["2.0"], HOSTILE, sample=sample), bound=HOSTILE)
    path = replace(path, context=replace(path.context, at=HOSTILE))
    outcomes = []
    for number, records in enumerate(((bad,), (other, path, of_path(Head(1, 1), [HOSTILE], "q", sample=sample)), ())):
        claim = outcome_of("bad", *records, checkpoint=HOSTILE, outcome="failed", reason=HOSTILE)
        names = dict.fromkeys(("name", "cite", "statement", "docstring", "code", "source", "role"), HOSTILE)
        outcomes.append(replace(claim, claim=replace(claim.claim, id=f"{HOSTILE}{number}", **names)))
    falsified = Falsified((Mutant(HOSTILE, "die", "survived", HOSTILE),), HOSTILE, HOSTILE)
    noise = (Movement(HOSTILE, HOSTILE, HOSTILE, 0.1, 1.0, 1e-4, HOSTILE, False),)
    outcomes[1] = replace(outcomes[1], falsified=falsified, noise=noise)
    pattern = Pattern("1.1", HOSTILE, (HOSTILE, HOSTILE), ((1.0,), (0.5, 0.5)))
    recorded = replace(ledger.checkpoints[0], name=HOSTILE, patterns=(pattern,))
    run = replace(ledger.run, flags=(HOSTILE,), versions={HOSTILE: HOSTILE}, not_run=(NotRun(HOSTILE, HOSTILE, 2),))
    return Ledger(run, tuple(outcomes), (recorded,))


def large_ledger(count: int) -> Ledger:
    """A ledger of many claims, each with a sweep of its own over the heads of a large model."""
    claims = []
    rows, columns = (tuple(map(str, range(size))) for size in (36, 20))
    for number in range(count):
        numbers = tuple(
            tuple(round((layer * head * (number + 1)) % 997 / 997, 3) for head in range(len(columns)))
            for layer in range(len(rows))
        )
        outcome = outcome_of(f"number_{number}", replace(of_head(), sweep=RecordedSweep(rows, columns, numbers)))
        claim = replace(outcome.claim, role="mover", code=f"def test_{number % 40}(): ...\n")
        claims.append(replace(outcome, claim=claim))
    return ledger_of(*claims)


def step(shift: float = 0.0, checkpoint: str = "gpt2") -> Ledger:
    """The ledger of a run of one claim, which holds or not by a shift of its number."""
    verdict = of_head() if not shift else replace(sampled_record(shift), context=of_head().context)
    mutants = (Mutant("zeroed", "die", "killed", "", True), Mutant("flipped", "live", "survived"))
    falsified = Falsified(mutants, "1 of 1", "")
    noise = (Movement("other seed", "logit_diff", "logits", 0.1, 1.0, 1e-4, "supported", False),)
    claim = outcome_of("task", verdict, checkpoint=checkpoint, falsified=falsified, noise=noise)
    return ledger_of(claim)
