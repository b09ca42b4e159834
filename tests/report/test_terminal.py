"""The closing table: counts of several checkpoints in columns, then what needs attention."""

from records import outcome_of, record

from pytest_interp.ledger.outcome import NOT_APPLICABLE
from pytest_interp.ledger.reruns import Falsified, Mutant
from pytest_interp.report.layout import WIDTH
from pytest_interp.report.mutants import falsified
from pytest_interp.report.terminal import summarise
from pytest_interp.text import columns

OUTCOMES = {
    "supported": lambda name: outcome_of("holds", record(), checkpoint=name),
    "refuted": lambda name: outcome_of("fails", record(outcome="refuted"), checkpoint=name),
    "inconclusive": lambda name: outcome_of("open", record(outcome="inconclusive"), checkpoint=name),
    "not_applicable": lambda name: outcome_of(
        "skips", checkpoint=name, outcome="skipped", reason=f"{NOT_APPLICABLE}: no such site"
    ),
    "expected_failure": lambda name: outcome_of("xfails", checkpoint=name, outcome="xfailed", reason="measured 0.1"),
    "error": lambda name: outcome_of("breaks", checkpoint=name, outcome="error"),
}


def claims(checkpoint, **counts):
    """Outcomes of a checkpoint: so many of each finding."""
    outcomes = [OUTCOMES[finding](checkpoint) for finding, count in counts.items() for _ in range(count)]
    assert {outcome.finding.replace(" ", "_") for outcome in outcomes} == set(counts)
    return outcomes


def text_of(outcomes, **options):
    return [line.text for line in summarise(outcomes, verbose=False, **options)]


def test_several_checkpoints_stand_in_a_table_and_only_what_needs_attention_below():
    lines = text_of([*claims("planted-ioi", supported=7), *claims("gpt2", supported=3, refuted=1, not_applicable=12)])
    assert [line.split() for line in lines[:4]] == [
        ["not"],
        ["supported", "refuted", "applicable"],
        ["planted-ioi", "7", ".", "."],
        ["gpt2", "3", "1", "12"],
    ]
    assert lines[4] == "gpt2: 3 supported, 1 refuted, 12 not applicable"
    assert lines[5].startswith("  refuted          test_fails")
    assert not any(line.startswith("planted-ioi:") for line in lines)


def test_one_checkpoint_needs_no_table():
    assert text_of(claims("planted-ioi", supported=2)) == ["planted-ioi: 2 supported"]


def test_what_was_not_checked_stands_below_the_table():
    both = [*claims("a", supported=1), *claims("b", supported=1)]
    lines = text_of(both, unchecked=[("gpt2", "its weights are not here")])
    assert lines[-1] == "gpt2: 1 not checked: its weights are not here"


def test_a_row_has_at_most_79_columns_whatever_the_names_and_findings():
    names = ["a" * 200, "模型" * 40, "planted-ioi"]
    lines = text_of([claim for name in names for claim in claims(name, **dict.fromkeys(OUTCOMES, 11))])
    table = lines[: 2 + len(names)]
    assert all(columns(line) <= WIDTH for line in table)
    assert len({columns(line) for line in table[2:]}) == 1


def test_names_that_are_shorter_than_a_column_still_have_their_table():
    assert text_of([*claims("a", supported=1), *claims("b", supported=1)])[1:] == ["a          1", "b          1"]


def test_the_table_of_mutants_says_how_to_read_it():
    mutants = Falsified((Mutant("zeroed", "die", "killed"),), "killed by zeroed", "")
    lines = falsified([outcome_of("holds", record(), falsified=mutants)])
    assert lines[-3].startswith("  killed: the damage refuted the claim.")
    assert all(columns(line) <= WIDTH for line in lines)
    assert falsified([outcome_of("holds", record())]) == []
