"""Two ledgers side by side: what turned, what moved, why, and what cannot be compared."""

import json
from dataclasses import replace

import pytest
from records import GPT2, IOI, ledger_of, outcome_of, sampled_record

from pytest_interp import Bound, UsageError
from pytest_interp.compare.comparison import compare
from pytest_interp.compare.moves import Move
from pytest_interp.measurement import quote_both
from pytest_interp.report import comparison as views

NAMES = ("before.json", "after.json")
REFUTING = Bound.of(at_least=9)


def shown(comparison):
    return "\n".join(line.text for line in views.terminal(comparison, NAMES))


def test_equal_runs_are_unchanged():
    ledger = ledger_of(outcome_of("task", sampled_record()), outcome_of("copies", sampled_record(0.5)))
    comparison = compare(ledger, ledger)
    assert [pair.change for pair in comparison.pairs] == ["unchanged"] * 2
    assert not any(comparison.fails(fail_on) for fail_on in ("verdict", "number", "never"))
    assert shown(comparison).splitlines()[-1] == "2 claims in both: 2 unchanged"
    assert comparison.common_causes == ()


def test_float_noise_is_no_move_and_the_furthest_is_said():
    before = ledger_of(outcome_of("task", sampled_record()))
    comparison = compare(before, ledger_of(outcome_of("task", sampled_record(0.00004))))
    assert comparison.pairs[0].change == "unchanged"
    assert views.summary(comparison) == "1 claim in both: 1 unchanged (the furthest by 40% of what it may)"


def test_a_number_that_moved_has_both_values_the_distance_and_its_interval():
    before = ledger_of(outcome_of("task", sampled_record()))
    comparison = compare(before, ledger_of(outcome_of("task", sampled_record(0.004, spread=0.0005))))
    (pair,) = comparison.pairs
    (move,) = pair.moves
    assert pair.change == "moved"
    assert move.distance == pytest.approx(0.004, abs=1e-4)
    low, high = move.interval
    assert 0.003 < low < move.distance < high < 0.005
    assert "logit_diff 3.275 -> 3.279 logits, moved +0.004 [+0.0032" in shown(comparison)
    assert "may 0.0001" in shown(comparison)
    assert comparison.fails("number")
    assert not comparison.fails("verdict")


def test_the_interval_is_that_of_the_paired_difference():
    """Independently: shifts that are equal in each of 12 templates of two prompts have the t interval of 12 means."""
    from scipy.stats import t

    shifts = [0.01 * (i % 12) for i in range(24)]
    before = sampled_record()
    values = tuple(value + shift for value, shift in zip(before.values, shifts, strict=True))
    changed = replace(before, values=values, value=sum(values) / 24)
    (pair,) = compare(ledger_of(outcome_of("task", before)), ledger_of(outcome_of("task", changed))).pairs
    means = [0.01 * i for i in range(12)]
    mean = sum(means) / 12
    error = (sum((m - mean) ** 2 for m in means) / 11 / 12) ** 0.5
    low, high = pair.moves[0].interval
    assert low == pytest.approx(mean - t.ppf(0.975, 11) * error, abs=2e-3)
    assert high == pytest.approx(mean + t.ppf(0.975, 11) * error, abs=2e-3)


def test_a_verdict_that_turned_is_first_and_says_why():
    before = ledger_of(outcome_of("moves", sampled_record()), outcome_of("turns", sampled_record()))
    weights = replace(GPT2, fingerprint="f" * 12, dtype="bfloat16")
    after = ledger_of(
        outcome_of("moves", sampled_record(0.1)),
        outcome_of("turns", sampled_record(-1, bound=REFUTING, checkpoint=weights)),
    )
    comparison = compare(before, after)
    assert [(pair.name, pair.change) for pair in comparison.pairs] == [("it.turns", "turned"), ("it.moves", "moved")]
    text = shown(comparison)
    assert "supported -> refuted" in text
    assert "changed: bound at least 1 -> at least 9; weights 607a30d7 -> ffffffff; dtype" in " ".join(text.split())
    assert comparison.fails("verdict")


def test_what_differs_for_all_claims_is_said_once():
    claims = [outcome_of(name, sampled_record()) for name in ("a", "b")]
    on_gpu = [outcome_of(name, sampled_record(checkpoint=replace(GPT2, device="cuda:0"))) for name in ("a", "b")]
    versions = {"torch": "2.14.0", "python": "3.12.1"}
    comparison = compare(ledger_of(*claims), ledger_of(*on_gpu, versions=versions))
    assert comparison.common_causes == ("torch 2.13.0 -> 2.14.0", "device cpu -> cuda:0")
    assert "changed: torch 2.13.0 -> 2.14.0; device cpu -> cuda:0" in shown(comparison)


def test_other_prompts_have_no_distance_that_is_expected():
    before = ledger_of(outcome_of("task", sampled_record()))
    other = replace(IOI, digest="ba9876543210", seed=2)
    comparison = compare(before, ledger_of(outcome_of("task", sampled_record(1.0, data=other))))
    (pair,) = comparison.pairs
    assert (pair.change, pair.causes) == ("other prompts", ("seed 1 -> 2",))
    assert "on other prompts" in shown(comparison)
    assert not comparison.fails("number")
    # The same choices with another text: the task, or a tokenizer, has changed.
    silent = replace(IOI, digest="ba9876543210")
    (pair,) = compare(before, ledger_of(outcome_of("task", sampled_record(data=silent)))).pairs
    assert pair.causes == ("text of ioi/confirm 01234567 -> ba987654",)


def test_the_worst_of_drawn_examples_is_no_number_to_compare():
    before = ledger_of(outcome_of("task", sampled_record(examples=20)))
    comparison = compare(before, ledger_of(outcome_of("task", sampled_record(1.0, examples=20))))
    assert comparison.pairs[0].moves[0].allowed is None
    assert not comparison.fails("number")


def test_other_verdicts_and_other_code_are_seen():
    before = ledger_of(outcome_of("task", sampled_record(), sampled_record(quantity="accuracy")))
    changed = outcome_of("task", sampled_record())
    changed = replace(changed, claim=replace(changed.claim, code="def test_it(): pass\n"))
    (pair,) = compare(before, ledger_of(changed)).pairs
    assert pair.change == "moved"
    assert pair.unpaired == "2 verdicts before, 1 after, 1 of them the same"
    assert pair.causes == ("the claim's code",)


def test_the_snapshot_of_a_claim_is_no_verdict():
    before = ledger_of(outcome_of("task", sampled_record()))
    differs = outcome_of("task", sampled_record(0.1), outcome="failed", snapshot="differs")
    assert differs.finding == "snapshot differs"
    assert [pair.change for pair in compare(before, ledger_of(differs)).pairs] == ["moved"]


def test_one_checkpoint_against_another_is_paired_by_claim():
    before = ledger_of(outcome_of("task", sampled_record()), outcome_of("gone", sampled_record()))
    mine = outcome_of("task", sampled_record(), checkpoint="./mine")
    comparison = compare(before, ledger_of(mine, outcome_of("new", sampled_record(), checkpoint="./mine")))
    assert [pair.name for pair in comparison.pairs] == ["it.task"]
    assert (comparison.only_before, comparison.only_after) == (("it.gone",), ("it.new",))
    assert "only in before.json: 1 claim: it.gone" in shown(comparison)


def test_what_only_one_has_is_named_with_its_checkpoint_where_there_are_several():
    both = [outcome_of("task", sampled_record(), checkpoint=name) for name in ("gpt2", "mine")]
    comparison = compare(ledger_of(*both, outcome_of("gone", sampled_record())), ledger_of(*both))
    assert comparison.only_before == ("gpt2: it.gone",)


def test_checkpoints_of_a_run_are_kept_apart():
    both = [outcome_of("task", sampled_record(), checkpoint=name) for name in ("gpt2", "other")]
    turned = outcome_of("task", sampled_record(bound=REFUTING), checkpoint="other")
    comparison = compare(ledger_of(*both), ledger_of(both[0], turned))
    assert [(pair.checkpoint, pair.change) for pair in comparison.pairs] == [("other", "turned"), ("gpt2", "unchanged")]
    assert "other: it.task" in shown(comparison)


def test_nothing_in_common_is_a_sentence():
    before = ledger_of(outcome_of("task", sampled_record()))
    with pytest.raises(UsageError, match=r"no claim is in both ledgers: 1 claim on gpt2, such as it.task"):
        compare(before, ledger_of())


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (3.65, 3.654, ("3.650", "3.654")),
        (3.65, 3.65, ("3.650", "3.650")),
        (1.0, 1.00001, ("1.00000", "1.00001")),
        (1.0, 1.0 + 1e-14, ("1.000000000", "1.000000000")),
    ],
)
def test_values_have_digits_that_tell_them_apart(before, after, expected):
    assert quote_both(before, after) == expected


def test_a_number_that_may_not_move_at_all():
    assert Move("it", "accuracy", "share", 0.5, 0.75, 0.0).is_beyond
    assert not Move("it", "accuracy", "share", 0.5, 0.5, 0.0).is_beyond


def test_every_line_fits_and_hostile_names_do_nothing():
    name = "task\x1b[31m" + "x" * 300
    before = ledger_of(outcome_of(name, sampled_record()))
    comparison = compare(before, ledger_of(outcome_of(name, sampled_record(1.0))))
    text = shown(comparison)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 79
    cell = views.markdown(compare(*[ledger_of(outcome_of("<b>|x_y", sampled_record()))] * 2), NAMES)
    assert "<b>" not in cell


def test_markdown_is_one_table_and_json_has_every_claim():
    before = ledger_of(outcome_of("task", sampled_record()), outcome_of("same", sampled_record()))
    after = ledger_of(outcome_of("task", sampled_record(0.1)), outcome_of("same", sampled_record()))
    comparison = compare(before, after)
    lines = views.markdown(comparison, NAMES).splitlines()
    assert lines[0] == "**2 claims in both: 1 moved, 1 unchanged**"
    rows = [line for line in lines if line.startswith("|")]
    assert len({row.count(" | ") for row in rows}) == 1
    assert len(rows) == 3
    assert rows[2].startswith("| it.task | supported | logit\\_diff (logits) | 3.275 | 3.375 | +0.1 [")
    table = json.loads(json.dumps(views.table(comparison)))
    assert [claim["change"] for claim in table["claims"]] == ["moved", "unchanged"]
    assert table["claims"][0]["numbers"][0]["allowed"] == pytest.approx(1e-4)
