"""What each member of a set adds, on the planted model where it is known; controls that do the same."""

import pytest
from models import CLAIMS, experiment_on

from pytest_interp import (
    Checkpoint,
    ClaimFailed,
    assert_ablation_effect,
    assert_attention,
    assert_backup_heads,
    assert_completeness,
    assert_direct_logit_attribution,
    assert_faithfulness,
    assert_head_patch_effect,
    assert_logit_diff,
    assert_measurement,
    assert_path_patch_effect,
    assert_self_repair,
    load_circuit,
)
from pytest_interp.assertions.members import HeadSet, members_of
from pytest_interp.checkpoints import known_specs
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head, as_heads
from pytest_interp.measure import ablation_effect, head_patch_effect
from pytest_interp.measurement import Measurement, Sample, paired_difference
from pytest_interp.verdict import recording

MOVERS = ["3.0", "3.1", "3.2"]
CIRCUIT = load_circuit(CLAIMS / "circuits" / "planted-ioi.toml")


@pytest.fixture(scope="module")
def ioi():
    return experiment_on(Checkpoint(known_specs()["planted-ioi"], CIRCUIT))


def contributions(verdict):
    return {member.label: member.contribution for member in verdict.members}


SETS = {
    "patching": lambda e: assert_head_patch_effect(
        e, ["3.0", "3.3"], at="END", direction="noise", metric="logit_diff", at_most=-0.5
    ),
    "senders": lambda e: assert_path_patch_effect(e, ["3.0", "3.3"], "logits", at_most=-0.5),
    "ablation": lambda e: assert_ablation_effect(e, ["3.0", "3.3"], ablation="zero", at_most=-0.5),
    "attribution": lambda e: assert_direct_logit_attribution(e, ["3.0", "3.3"], at_least=0.5),
    "circuit": lambda e: assert_faithfulness(e, [*MOVERS, "3.3"], metric="logit_diff", at_least=-9),
}


@pytest.mark.parametrize("name", SETS)
def test_a_dead_member_is_named(ioi, name):
    verdict = SETS[name](ioi)
    assert contributions(verdict)["3.3"] == "adds nothing"
    assert contributions(verdict)["3.0"] == "adds"
    assert any(caveat.startswith("3.3 ") and caveat.endswith(": adds nothing") for caveat in verdict.caveats)


@pytest.mark.parametrize(
    ("claim", "dead"),
    [
        (lambda e: assert_backup_heads(e, ["4.2", "4.1"], knocked_out=MOVERS, at_least=0.05), "4.2"),
        (lambda e: assert_backup_heads(e, "4.1", knocked_out=[*MOVERS, "3.3"], at_least=0.05), "knocked-out 3.3"),
        (lambda e: assert_path_patch_effect(e, "2.0", ["3.0", "3.3"], into="q", at_most=-0.5), "receiver 3.3"),
        (lambda e: assert_logit_diff(e, knocked_out=["3.0", "3.3"], at_least=1), "knocked-out 3.3"),
        (lambda e: assert_self_repair(e, [*MOVERS, "3.3"], ablation="zero", at_least=0.1), "knocked-out 3.3"),
        (lambda e: assert_completeness(e, [*MOVERS, "3.3"], knocked_out=["3.0", "3.3"], at_most=99), "K 3.3"),
    ],
)
def test_so_is_one_of_any_other_set(ioi, claim, dead):
    verdict = claim(ioi)
    silent = [label for label, contribution in contributions(verdict).items() if contribution == "adds nothing"]
    assert silent == [dead]


def test_alone_and_marginal_are_what_two_patches_say(ioi):
    verdict = assert_head_patch_effect(ioi, MOVERS, at="END", metric="logit_diff", at_least=1)
    whole = head_patch_effect(ioi, MOVERS, at="END", metric="logit_diff").value
    for member in verdict.members:
        rest = [head for head in MOVERS if head != member.label]
        alone = head_patch_effect(ioi, member.label, at="END", metric="logit_diff").value
        assert member.alone.value == pytest.approx(alone)
        others = head_patch_effect(ioi, rest, at="END", metric="logit_diff").value
        assert member.marginal.value == pytest.approx(whole - others)


def test_redundant_heads_add_though_either_alone_is_enough_or_does_nothing(ioi):
    """Backups of each other: the knocked-out movers do nothing one by one, everything together."""
    verdict = assert_backup_heads(ioi, "4.1", knocked_out=MOVERS, at_least=1)
    assert all(member.contribution == "adds" for member in verdict.members)
    assert all(abs(member.alone.value) < 0.05 < 1 < member.marginal.value for member in verdict.members)


def test_a_member_that_works_against_its_set(ioi):
    verdict = assert_direct_logit_attribution(ioi, ["3.0", "4.0"], at_least=0.5)
    assert contributions(verdict) == {"3.0": "adds", "4.0": "works against the set"}


def test_a_member_that_is_not_shown_to_add():
    def effect(heads):
        first, second = (Head(0, 0) in heads), (Head(0, 1) in heads)
        values = [3.0 * first + second * (1.1 if row % 2 else -0.9) for row in range(12)]
        names = tuple(f"prompt {row}" for row in range(12))
        return Measurement("effect", "logits", tuple(values), Sample(names, names, "sampled"))

    first, second = members_of(HeadSet(as_heads(["0.0", "0.1"]), effect))
    assert first.contribution == "adds"
    assert second.contribution == "is not shown to add"


# ---- bounds on members


def test_members_can_be_bounded(ioi):
    assert_head_patch_effect(ioi, MOVERS, at="END", at_least=0.5, members_at_least=0.3)
    with pytest.raises(ClaimFailed) as failed:
        assert_head_patch_effect(ioi, MOVERS, at="END", at_least=0.5, members_at_least=0.4)
    assert "each member must be at least 0.4: 3.2 0.335 is not" in " ".join(str(failed.value).split())
    with pytest.raises(ClaimFailed, match="refuted"):
        assert_head_patch_effect(ioi, MOVERS, at="END", at_least=0.5, members_at_least=0.3, members="marginal")
    with pytest.raises(ClaimFailed) as failed:
        assert_head_patch_effect(ioi, ["3.0", "3.3"], at="END", at_least=0.5, members_at_least=0.1)
    text = " ".join(str(failed.value).split())
    assert "3.3 can have no effect alone, but each member must be at least 0.1" in text


def test_a_bound_on_members_decides_in_a_trial_too(ioi):
    with recording.trial(until_refuted=False) as records:
        assert_head_patch_effect(ioi, MOVERS, at="END", at_least=0.5, members_at_least=0.4)
        assert_head_patch_effect(ioi, MOVERS, at="END", at_least=0.5)
    assert [record.outcome for record in records] == ["refuted", "supported"]
    assert [len(record.members) for record in records] == [3, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": "3.0", "members_at_least": 0.1}, "speak of the members of a set; one head was passed"),
        ({"heads": ["3.0", "3.0"]}, "3.0 is named twice in a set of 2 heads"),
        ({"heads": MOVERS, "members": "marginal"}, "add members_at_least= or members_at_most="),
        ({"heads": MOVERS, "members": "each", "members_at_least": 0}, "members is 'each'; allowed: 'alone', 'marg"),
        ({"heads": MOVERS, "members_atleast": 0.1}, "members_atleast= is no argument here and no bound"),
        ({"heads": MOVERS, "members_at_least": float("nan")}, "is not a finite number"),
    ],
)
def test_bad_input(ioi, arguments, message):
    with pytest.raises(UsageError, match=message):
        assert_head_patch_effect(ioi, at="END", at_least=0.1, **arguments)


# ---- controls that do the same


def test_a_control_that_meets_the_bound_is_said(ioi):
    with recording.collecting() as records:
        verdict = assert_direct_logit_attribution(ioi, "3.0", controls={"other_layers": 6}, at_least=-1)
    assert any(caveat.startswith("controls do the same: ") for caveat in verdict.caveats)
    assert records[0].same == tuple(control.label for control in verdict.controls if control.same)
    assert records[0].caveats == tuple(verdict.caveats)


def test_a_control_that_is_not_told_apart_is_said():
    values = [0.9, 1.1, 1.3, 0.8, 1.2, 1.0, 0.7, 1.4, 1.0, 1.1]
    other = [
        value + shift
        for value, shift in zip(values, [0.3, -0.4, 0.2, -0.1, -0.3, 0.4, -0.1, 0.1, 0, -0.2], strict=True)
    ]
    verdict = assert_measurement(values, unit="x", control=other, between=(0.85, 1.25))
    assert f"a control does the same: control {sum(other) / len(other):.3f}" in verdict.caveats
    apart = assert_measurement(values, unit="x", control=[value - 0.9 for value in values], at_least=0.5)
    assert apart.caveats == ()


def test_controls_can_be_bounded(ioi):
    assert_direct_logit_attribution(ioi, "3.0", controls={"other_layers": 6}, at_least=1, controls_at_most=0.5)
    with pytest.raises(ClaimFailed) as failed:
        assert_attention(ioi, "0.0", at="END", to="S2", between=(-0.2, 0.2), controls_at_most=0.05)
    assert "each control must be at most 0.05:" in " ".join(str(failed.value).split())
    with pytest.raises(UsageError, match="speak of controls, but none were asked for"):
        assert_direct_logit_attribution(ioi, "3.0", controls=0, at_least=1, controls_at_most=0.5)
    # Where too few heads are left for a control, the claim stands and says so.
    verdict = assert_direct_logit_attribution(ioi, MOVERS, at_least=1, controls_at_most=0.5)
    assert any(note.startswith("no control: too few heads") for note in verdict.notes)


# ---- paired differences


def test_a_difference_is_taken_on_the_prompts_that_both_have():
    def numbers(values, labels, scale=()):
        sample = Sample(tuple(labels), tuple(labels), "sampled")
        return Measurement("q", "recovered", tuple(values), sample, tuple(scale))

    difference = paired_difference(numbers([1, 2, 3], "abc"), numbers([5, 7], "cb"))
    assert difference.labels == ("b", "c")
    assert difference.values == (2 - 7, 3 - 5)
    assert paired_difference(numbers([1], "a"), numbers([1], "b")) is None
    # Of two ratios it is the difference of the ratios.
    first, second = numbers([1, 2], "ab", [2, 4]), numbers([2, 1], "ab", [4, 1])
    assert paired_difference(first, second).value == pytest.approx(first.value - second.value)
    # A prompt that was drawn twice is paired once each.
    assert paired_difference(numbers([1, 2], "aa"), numbers([1, 5], "aa")).values == (0, -3)


def test_sets_of_which_the_whole_can_do_nothing(ioi):
    with pytest.raises(NotApplicable):
        ablation_effect(ioi, ["3.3", "4.3"], ablation="zero")
    assert (
        members_of(HeadSet(as_heads(["3.3", "4.3"]), lambda heads: ablation_effect(ioi, heads, ablation="zero"))) == ()
    )


def test_in_the_noising_direction_a_head_that_does_nothing_recovers_all(ioi):
    verdict = assert_head_patch_effect(ioi, ["3.0", "0.0"], at=None, direction="noise", at_most=0.95)
    assert contributions(verdict) == {"3.0": "adds", "0.0": "adds nothing"}
    assert not any("other run back" in caveat for caveat in verdict.caveats)


def test_a_member_of_which_the_rest_can_do_nothing_on_some_prompts():
    """A acts on the first half of the prompts, B on the second: without B nothing happens there, and that is 0."""
    rows = {Head(0, 0): range(6), Head(0, 1): range(6, 12)}
    labels = tuple(f"prompt {row}" for row in range(12))

    def effect(heads):
        acting = sorted(row for head in heads for row in rows[head])
        names = tuple(labels[row] for row in acting)
        return Measurement("effect", "logits", (1.0,) * len(acting), Sample(names, names, "sampled"))

    first, second = members_of(HeadSet(as_heads(["0.0", "0.1"]), effect))
    assert first.marginal.value == second.marginal.value == 0.5
    assert first.contribution == second.contribution == "adds"


def test_what_cannot_be_judged_of_a_member_does_not_hide_a_refuted_claim(ioi):
    band = {"members_at_least": 0.62751, "members_at_most": 0.62753}
    with pytest.raises(ClaimFailed, match="refuted"):
        assert_head_patch_effect(ioi, ["3.0", "3.1"], at="END", at_least=0.999, **band)
    with pytest.raises(ClaimFailed, match="inconclusive|refuted"):
        assert_head_patch_effect(ioi, ["3.0", "3.1"], at="END", at_least=0.1, **band)


def test_a_demand_on_a_control_that_was_not_passed():
    with pytest.raises(UsageError, match="speak of a control; pass control="):
        assert_measurement([1.0, 1.1, 0.9], unit="x", at_least=0.5, controls_at_most=0.1)
