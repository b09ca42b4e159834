"""Drift against a baseline: each word where it is right by construction, one sentence, and what cannot be compared."""

import json
from dataclasses import replace

import pytest
from records import GPT2, ledger_of, outcome_of, sampled_record

from pytest_interp import Bound, UsageError
from pytest_interp.cli import main
from pytest_interp.compare.drift import drift
from pytest_interp.heads import Head
from pytest_interp.ledger.ledger import RecordedCheckpoint
from pytest_interp.report import drift as views

MINE = replace(GPT2, name="mine", fingerprint="another")
AT_MOST = Bound.of(at_most=6)


def on_mine(shift=0.0, spread=0.0, **more):
    return sampled_record(shift, spread, checkpoint=MINE, **more)


def drift_of(before, after):
    """The drift of one claim; both are records, or outcomes."""
    return drift(
        ledger_of(outcome_of("task", before) if hasattr(before, "bound") else before),
        ledger_of(outcome_of("task", after, checkpoint="mine") if hasattr(after, "bound") else after),
    )


def skipped(reason, checkpoint):
    return outcome_of("task", checkpoint=checkpoint, outcome="skipped", reason=f"not applicable: {reason}")


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        pytest.param(sampled_record(), on_mine(), "held", id="the same number"),
        pytest.param(sampled_record(), on_mine(0.0, spread=0.3), "held", id="the interval contains 0"),
        pytest.param(sampled_record(), on_mine(-0.00005), "held", id="within float noise"),
        pytest.param(sampled_record(), on_mine(0.5, spread=0.1), "held", id="further from its bound"),
        pytest.param(sampled_record(), on_mine(-0.5, spread=0.1), "weakened", id="toward at least"),
        pytest.param(
            sampled_record(bound=AT_MOST), on_mine(0.5, spread=0.1, bound=AT_MOST), "weakened", id="toward at most"
        ),
        pytest.param(
            sampled_record(bound=AT_MOST), on_mine(-0.5, spread=0.1, bound=AT_MOST), "held", id="away from at most"
        ),
        pytest.param(sampled_record(), on_mine(-3.2, spread=0.1), "lost", id="about 0"),
        pytest.param(sampled_record(), on_mine(-6), "reversed", id="below 0"),
        pytest.param(
            sampled_record(),
            on_mine(-3.3, outcome="refuted", interval=(-5e-5, -4e-5)),
            "lost",
            id="below 0 by less than float noise",
        ),
        pytest.param(sampled_record(-6), on_mine(), "gained", id="refuted, then supported"),
        pytest.param(sampled_record(-6), on_mine(-6), "not held before", id="refuted on both"),
        pytest.param(sampled_record(), on_mine(-2.28, spread=0.3), "undecided", id="inconclusive"),
    ],
)
def test_the_word_of_a_claim(before, after, word):
    (claim,) = drift_of(before, after).claims
    assert claim.word == word


def test_an_error_is_undecided_and_a_gate_says_why():
    broken = outcome_of("task", checkpoint="mine", outcome="failed", reason="ValueError")
    assert drift_of(sampled_record(), broken).claims[0].word == "undecided"
    result = drift_of(sampled_record(), skipped("it does not do the task", "mine"))
    assert result.claims[0].word == "not applicable"
    assert result.claims[0].reason == "it does not do the task"
    assert views.sentence(result) == "0 of 0 findings of gpt2 hold on mine; 1 not applicable"


def test_expected_failures_count_by_their_numbers():
    failing = outcome_of("task", sampled_record(-6), outcome="xfailed", reason="known")
    passing = outcome_of("task", on_mine(), checkpoint="mine", outcome="failed", reason="[XPASS(strict)] known")
    assert drift_of(failing, passing).claims[0].word == "gained"


def whole():
    before = [outcome_of(name, sampled_record()) for name in ("a", "b", "c", "d")]
    shifts = {"a": 0.0, "b": -0.5, "c": -6, "d": -3.2}
    after = [outcome_of(name, on_mine(shift, spread=0.1), checkpoint="mine") for name, shift in shifts.items()]
    return drift(ledger_of(*before), ledger_of(*after))


def test_one_sentence_and_the_claims_worst_first():
    result = whole()
    assert [claim.word for claim in result.claims] == ["reversed", "lost", "weakened", "held"]
    sentence = "2 of 4 findings of gpt2 hold on mine (1 of them weakened); 1 reversed, 1 lost"
    assert views.sentence(result) == sentence
    lines = [line.text for line in views.terminal(result)]
    assert lines[0] == "  reversed       it.c"
    assert lines[1].startswith("                 logit_diff (logits) 3.275 -> -2.733 (-6 [")
    assert lines[-1] == sentence
    assert max(map(len, lines)) <= 79
    assert not any("it.a" in line for line in lines), "what held is counted"


def test_markdown_and_json():
    result = whole()
    text = views.markdown(result)
    assert text.startswith("**2 of 4 findings")
    assert "| it.a | **held** |" in text, "what held has a row too"
    assert "| it.c | **reversed** | logit\\_diff (logits) | 3.275 | -2.733 |" in text
    assert len({line.count(" | ") for line in text.splitlines() if line.startswith("|")}) == 1
    table = json.loads(json.dumps(views.table(result)))
    assert table["counts"]["lost"] == 1
    assert [claim["drift"] for claim in table["claims"]] == ["reversed", "lost", "weakened", "held"]


def test_support_that_means_less_is_said():
    base = sampled_record(caveats=("a control does the same: 9.6 0.5",))
    caveats = ("9.9 moves nothing: its values or output weights are 0", "controls do the same: 9.6 0.5; 9.7 0.4")
    result = drift_of(base, on_mine(caveats=caveats))
    (claim,) = result.claims
    assert (claim.word, claim.reason) == ("held", caveats[0])
    assert views.sentence(result) == "1 of 1 finding of gpt2 holds on mine (1 with a new caveat)"
    assert any("9.9 moves nothing" in line.text for line in views.terminal(result))
    assert "9.9 moves nothing" in views.markdown(result)
    assert drift_of(sampled_record(caveats=caveats), on_mine(caveats=caveats)).claims[0].reason == ""


def test_claims_that_only_one_of_them_has_are_said():
    before = ledger_of(outcome_of("a", sampled_record()), outcome_of("b", sampled_record()))
    after = ledger_of(*(outcome_of(name, on_mine(), checkpoint="mine") for name in ("a", "c")))
    result = drift(before, after)
    lines = [line.text for line in views.terminal(result)]
    assert lines[0:2] == ["only in gpt2: 1 claim: it.b", "only in mine: 1 claim: it.c"]
    assert "only in gpt2: 1 claim: it.b only in mine: 1 claim: it.c" in views.markdown(result)
    with pytest.raises(UsageError, match="no claim is in both ledgers: 2 claims on gpt2, such as it.a, and 1 claim on"):
        drift(before, ledger_of(outcome_of("c", on_mine(), checkpoint="mine")))


def test_several_checkpoints_in_one_ledger_are_refused():
    both = ledger_of(outcome_of("a", sampled_record()), outcome_of("a", on_mine(), checkpoint="mine"))
    with pytest.raises(UsageError, match="between two checkpoints; a ledger has gpt2, mine"):
        drift(both, both)
    assert views.sentence(drift(both.of("gpt2"), both.of("mine"))) == "1 of 1 finding of gpt2 holds on mine"


@pytest.fixture
def both(tmp_path):
    """A ledger of a run that judged two checkpoints."""
    path = tmp_path / "both.json"
    claims = outcome_of("a", sampled_record()), outcome_of("a", on_mine(-6), checkpoint="mine")
    path.write_text(ledger_of(*claims).to_text())
    return str(path)


def test_the_command_prints_the_drift_and_fails_where_a_finding_was_lost(both, capsys):
    assert main(["drift", both, "--baseline", "gpt2"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 of 1 finding of gpt2 hold on mine; 1 reversed"
    assert main(["drift", both, "--baseline", "gpt2", "--markdown"]) == 1
    assert "| it.a | **reversed** |" in capsys.readouterr().out
    assert main(["drift", both, "--baseline", "gpt2", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["counts"]["reversed"] == 1
    assert main(["drift", both, "--baseline", "mine"]) == 0, "gained is no loss"


@pytest.mark.parametrize("more", [[], ["--baseline", "nobody"]])
def test_one_ledger_needs_the_name_of_the_baseline(both, more, capsys):
    assert main(["drift", both, *more]) == 2
    assert "has gpt2, mine; pass a second ledger, or --baseline" in capsys.readouterr().err


def of_weights(checkpoint, weights, *, role="name_mover"):
    identity = GPT2 if checkpoint == "gpt2" else MINE
    context = replace(sampled_record(checkpoint=identity).context, heads=(Head(9, 9),))
    outcome = outcome_of("a", sampled_record(checkpoint=identity, context=context), checkpoint=checkpoint)
    ledger = ledger_of(replace(outcome, claim=replace(outcome.claim, role=role)))
    return replace(ledger, checkpoints=(RecordedCheckpoint(checkpoint, weights=weights),))


@pytest.mark.parametrize(
    ("weights", "cosine", "word"),
    [
        ((1.0, 2.0, -2.0), 1, "held"),
        ((2.0, 4.0, -4.0), 1, "held"),
        ((1.0, 2.0, 2.0), 1 / 9, "not applicable"),
        ((1.0, 2.0), 0, "not applicable"),
        ((), None, "held"),
    ],
)
def test_heads_are_carried_over_where_the_weights_are_close(weights, cosine, word):
    base = of_weights("gpt2", (1.0, 2.0, -2.0))
    result = drift(base, of_weights("mine", weights))
    assert result.cosine == (None if cosine is None else pytest.approx(cosine))
    assert result.claims[0].word == word
    assert result.heads == {"name_mover": {"9.9": word}}
    without_index = drift(base, of_weights("mine", weights, role=None))
    assert without_index.claims[0].word == "held", "a claim without a role names no head of the circuit"


def test_roles_and_weights_are_said():
    result = drift(of_weights("gpt2", (1.0, 2.0, -2.0)), of_weights("mine", (1.0, 2.0, 2.0)))
    lines = [line.text for line in views.terminal(result)]
    assert lines[0] == "changed: weights of heads, cosine 0.1111"
    assert "                 heads have no counterpart: the cosine of the weights is 0.11" in lines
    assert "role name_mover: 9.9 not applicable" in lines
    assert "| name\\_mover | 9.9 | not applicable |" in views.markdown(result)
