"""Drift of a circuit: each word of a role where it is right by construction, likeness by hand, what is left out."""

import json
from dataclasses import replace

import pytest
from records import GPT2, ledger_of, outcome_of, sampled_record

from pytest_interp.compare.circuit_drift import circuit_drift
from pytest_interp.compare.drift import drift
from pytest_interp.compare.likeness import jaccard, spearman, weighted_jaccard
from pytest_interp.ledger.ledger import RecordedCheckpoint
from pytest_interp.ledger.profile import Profile, PromptDraw, RoleScores
from pytest_interp.report import circuit_drift as lines
from pytest_interp.report import drift as views

MINE = replace(GPT2, name="mine", fingerprint="another")
SAMPLE = sampled_record().sample
N = len(SAMPLE.labels)
HEADS = ("9.6", "9.7", "9.9", "10.0")
ROLE = "name_mover"


def scores(means, *, bound=0.3, role=ROLE, heads=("9.6", "9.9"), spread=0.01):
    """Role scores of four heads, with a little spread around each mean."""
    by_head = dict(zip(HEADS, means, strict=True))
    values = {
        head: tuple(mean + spread * (i % 3 - 1) for i in range(N))
        for head, mean in by_head.items()
        if mean or head in heads
    }
    means_of_values = {head: sum(values[head]) / N if head in values else 0.0 for head in HEADS}
    return RoleScores(role, "END reads IO", heads, bound, means_of_values, values)


def draw(means=(0.6, 0.0, 0.8, 0.0), *, shift=0.0, digest="a", effects=(1.0, 0.0, 3.0, 0.0), **changes):
    logit_diff = tuple(3 + shift + (i % 7) / 10 for i in range(N))
    whole = PromptDraw(
        digest, SAMPLE, logit_diff, (1.0,) * N, tuple(value / 2 for value in logit_diff),
        (scores(means),), dict(zip(HEADS, effects, strict=True)),
    )  # fmt: skip
    return replace(whole, **changes)


BASELINE = Profile((draw(), draw((0.58, 0.0, 0.79, 0.0), digest="b", effects=(1.0, 1.0, 2.0, 0.0))))


def role_of(checkpoint, *, baseline=BASELINE, related=True):
    (role,) = circuit_drift(baseline, Profile((checkpoint,)), related=related).roles
    return role


@pytest.mark.parametrize(
    ("means", "word", "lost", "others"),
    [
        pytest.param((0.6, 0.0, 0.8, 0.0), "held", [], [], id="the same"),
        pytest.param((0.4, 0.0, 0.9, 0.6), "held", [], [], id="another head more"),
        pytest.param((0.0, 0.0, 0.8, 0.6), "moved heads, same mechanism", ["9.6"], ["10.0"], id="one head moved"),
        pytest.param((0.0, 0.7, 0.0, 0.6), "moved heads, same mechanism", ["9.6", "9.9"], ["9.7", "10.0"], id="both"),
        pytest.param((0.0, 0.0, 0.8, 0.2), "fewer heads", ["9.6"], [], id="one head lost"),
        pytest.param((0.0, 0.1, 0.1, 0.2), "lost", ["9.6", "9.9"], [], id="all lost"),
        pytest.param((0.299, 0.0, 0.8, 0.6), "undecided", [], [], id="about the bound"),
    ],
)
def test_the_word_of_a_role(means, word, lost, others):
    role = role_of(draw(means))
    assert (role.word, list(role.lost), list(role.others)) == (word, lost, others)


def test_a_head_that_a_second_draw_on_the_baseline_shows_is_no_new_one():
    base = Profile((draw(), draw((0.6, 0.0, 0.8, 0.35), digest="b")))
    assert role_of(draw((0.0, 0.0, 0.8, 0.6)), baseline=base).word == "fewer heads"


def test_a_model_that_does_not_do_the_task_has_no_same_mechanism():
    checkpoint = draw((0.0, 0.0, 0.8, 0.6), shift=-3.3)
    assert role_of(checkpoint).word == "fewer heads"
    assert circuit_drift(BASELINE, Profile((checkpoint,)), related=True).capable == (True, False)


def test_without_counterparts_a_role_is_asserted_without_index():
    role = role_of(draw((0.0, 0.7, 0.0, 0.0)), related=False)
    assert (role.word, role.heads, role.likeness.value) == ("held", (), None)
    assert role_of(draw((0.0, 0.1, 0.0, 0.0)), related=False).word == "lost"
    other_shape = replace(draw((0.0, 0.7, 0.0, 0.0)), effects={"0.0": 1.0})
    assert role_of(other_shape).heads == (), "heads of another shape are not compared by index"


def test_a_role_that_the_baseline_does_not_have():
    assert role_of(draw(), baseline=Profile((draw((0.1, 0.0, 0.2, 0.0)),))).word == "not held before"


def test_numbers_stand_beside_their_floors():
    result = circuit_drift(BASELINE, Profile((draw((0.5, 0.0, 0.9, 0.0), shift=-1),)), related=True)
    logit_diff, accuracy = result.capability
    assert (logit_diff.after - logit_diff.before, logit_diff.floor) == (pytest.approx(-1), pytest.approx(0))
    assert logit_diff.interval == pytest.approx((-1, -1))
    assert (accuracy.before, accuracy.after) == (1, 1)
    assert (result.transfer.before, result.transfer.after) == (pytest.approx(0.5), pytest.approx(0.5))
    (first, second) = result.roles[0].heads
    assert (first.score.after - first.score.before, first.score.floor) == (pytest.approx(-0.1), pytest.approx(0.02))
    assert (first.ranks, second.ranks) == ((2, 2, 2), (1, 1, 1))
    jaccards, ranks = result.likeness
    assert (jaccards.value, ranks.value) == (1, pytest.approx(1))
    # By hand: (1/4 + 0 + 2/4) / (1/4 + 1/4 + 3/4); ranks 3 1.5 4 1.5 and 2.5 2.5 4 1, covariance 3.75 of 4.5 and 4.5.
    assert (jaccards.floor, ranks.floor) == (pytest.approx(0.6), pytest.approx(3.75 / 4.5))


def test_likeness_by_hand():
    assert jaccard({"0.0", "0.1"}, {"0.1", "0.2"}) == 1 / 3
    assert jaccard([], []) is None
    assert weighted_jaccard({"0.0": 1, "0.1": 0}, {"0.0": 0, "0.1": -1}) == 0
    assert weighted_jaccard({"0.0": 1}, {"0.1": 1}) is None
    assert weighted_jaccard({"0.0": 0}, {"0.0": 1}) is None
    assert spearman({"0.0": 1, "0.1": 2}, {"0.0": 2, "0.1": 1}) == pytest.approx(-1)
    assert spearman({"0.0": 1, "0.1": 1}, {"0.0": 2, "0.1": 1}) is None


def test_spearman_is_that_of_scipy():
    from scipy.stats import spearmanr

    first, second = [3.0, -1.0, 0.0, 0.0, 2.5, 0.0], [1.0, 1.0, 0.0, -2.0, 4.0, 0.0]
    pairs = ({str(i): value for i, value in enumerate(side)} for side in (first, second))
    assert spearman(*pairs) == pytest.approx(spearmanr(first, second).statistic)


def both(checkpoint, baseline=BASELINE):
    """The drift of one claim and a circuit, from ledgers."""
    before = ledger_of(outcome_of("task", sampled_record(checkpoint=GPT2)))
    after = ledger_of(outcome_of("task", sampled_record(checkpoint=MINE), checkpoint="mine"))
    profiles = (baseline, None if checkpoint is None else Profile((checkpoint,)))
    ledgers = [
        replace(ledger, checkpoints=(RecordedCheckpoint(ledger.names[0], profile=profile),))
        for ledger, profile in zip((before, after), profiles, strict=True)
    ]
    return drift(*ledgers)


def test_terminal_markdown_and_json():
    result = both(draw((0.0, 0.0, 0.8, 0.6), shift=-1))
    sentence = "1 of 1 finding of gpt2 holds on mine; name_mover moved from 9.6 to 10.0"
    assert views.sentence(result) == sentence
    texts = [line.text for line in views.terminal(result)]
    assert texts[0].split() == ["baseline", "now", "difference", "floor"], "capability comes first"
    assert texts[1].split()[:3] == ["logit_diff", "3.275", "2.275"]
    assert "  role name_mover: moved heads, same mechanism" in texts
    head = next(text.split() for text in texts if text.startswith("    9.6 "))
    assert (head[1], head[3:]) == ("rank", ["(2)", "0.600", "0.000", "-0.600", "[-0.600,", "-0.600]", "0.020"])
    assert "    found: 9.6, 9.9 -> 9.9, 10.0; Jaccard 0.333, floor 1.000" in texts
    assert max(map(len, texts)) <= 79
    markdown = views.markdown(result)
    assert "| name\\_mover | 9.6 | 0.600 | 0.000 | -0.600 \\[-0.600, -0.600\\] | 0.020 | 2>" in markdown
    table = json.loads(json.dumps(views.table(result)))
    assert table["circuit"]["roles"][0]["word"] == "moved heads, same mechanism"


def test_lines_fit_also_with_many_heads_and_large_numbers():
    result = both(draw(shift=-12))
    (role,) = result.circuit.roles
    head = replace(role.heads[0], score=replace(role.heads[0].score, name="29.10"), ranks=(100, 257, 100))
    large = replace(result.circuit.capability[0], interval=(-12.5, -11.5))
    circuit = replace(result.circuit, roles=(replace(role, heads=(head,)),), capability=(large,))
    texts = [line.text for line in lines.terminal(replace(result, circuit=circuit))]
    assert any("29.10" in text and "rank 100>257 (100) " in text for text in texts)
    assert any("-12.00 [-12.50, -11.50]" in text for text in texts)
    assert max(map(len, texts)) <= 79


def test_what_is_left_out_is_said():
    result = both(None)
    assert result.circuit is None
    assert result.left_out == "the ledger of mine has no profile of heads; run pytest with --interp-profile"
    assert "Heads are not compared: the ledger of mine" in views.markdown(result)
    one_draw = circuit_drift(Profile((draw(),)), Profile((draw(digest="c"),)), related=False)
    assert [remark.partition(":")[0] for remark in one_draw.remarks] == [
        "floors", "intervals of differences", "heads by index",
    ]  # fmt: skip
    assert one_draw.capability[0].interval is None
    assert one_draw.capability[0].floor is None
    assert not lines.incapable(result)


def test_a_baseline_that_cannot_do_the_task_is_said_first():
    weak = draw((0.6, 0.0, 0.8, 0.0), shift=-3.3)
    result = both(draw(), baseline=Profile((weak,)))
    texts = [line.text for line in views.terminal(result)]
    assert texts[4].startswith("  gpt2 does not do the task (its logit difference is not surely above 0)")
    assert views.sentence(result).endswith("; gpt2 does not do the task")


def test_a_checkpoint_without_a_circuit_file_says_so():
    before = both(draw()).comparison.before
    after = ledger_of(outcome_of("task", sampled_record(checkpoint=MINE), checkpoint="mine"))
    reason = Profile(reason="it has no circuit file, and so no roles")
    result = drift(before, replace(after, checkpoints=(RecordedCheckpoint("mine", profile=reason),)))
    assert "heads are not compared: mine: it has no circuit file, and so no roles" in [
        line.text for line in views.terminal(result)
    ]
