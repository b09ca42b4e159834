"""Mutants: which kill a claim, which must not, and that the model is unchanged afterwards."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import CLAIMS, experiment_on
from records import record

from pytest_interp import (
    Checkpoint,
    Experiment,
    Head,
    assert_attention,
    assert_backup_heads,
    assert_copy_score,
    assert_direct_logit_attribution,
    assert_faithfulness,
    assert_head_patch_effect,
    assert_logit_diff,
    assert_measurement,
    assert_patch_effect,
    assert_some_head,
    load_circuit,
)
from pytest_interp.checkpoints import known_specs
from pytest_interp.common.quantities import QUANTITIES
from pytest_interp.errors import UsageError
from pytest_interp.ledger.reruns import Mutant
from pytest_interp.measure import head_norms
from pytest_interp.rerun import falsify
from pytest_interp.rerun.falsify import died, heads_of, verdict_of
from pytest_interp.rerun.mutants import MEANING, MUTANTS, kind_of
from pytest_interp.rerun.trial import Body
from pytest_interp.strategies import PROFILE, name_pairs
from pytest_interp.tasks import ioi_grid, single_token_names
from pytest_interp.verdict import recording


@pytest.fixture(scope="module")
def ioi():
    circuit = load_circuit(CLAIMS / "circuits" / "planted-ioi.toml")
    return experiment_on(Checkpoint(known_specs()["planted-ioi"], circuit))


@pytest.fixture(scope="module")
def find(ioi):
    return experiment_on(ioi.checkpoint, half="find")


def on_mutants(function, arguments, checkpoint, *, everything=True):
    """What a claim shows on its mutants, after it was supported."""
    before = checkpoint.guard.state()
    with recording.collecting() as records:
        function(**arguments)
    mutants = falsify.falsify(Body(function, arguments), records, checkpoint, everything=everything)
    assert checkpoint.guard.state() == before
    return {(m.name, m.expected): m for m in mutants}, verdict_of(mutants, names_heads=bool(heads_of(records)))


def seen(mutants):
    return {name: mutant.seen for (name, _), mutant in mutants.items()}


def test_behaviour_dies_on_wrong_protocols_and_random_weights_and_lives_where_heads_are_exchanged(ioi):
    mutants, complaint = on_mutants(lambda ioi: assert_logit_diff(ioi, at_least=2), {"ioi": ioi}, ioi.checkpoint)
    assert not complaint
    assert seen(mutants) == {
        "exchanged": "survived",
        "answer exchanged": "killed",
        "names permuted": "killed",
        "END one earlier": "killed",
        "random weights": "killed",
    }


def test_a_head_claim_dies_on_damage_to_its_head(ioi):
    def claim(ioi, head):
        assert_head_patch_effect(ioi, head, at="END", at_least=0.2)

    mutants, complaint = on_mutants(claim, {"ioi": ioi, "head": Head(3, 0)}, ioi.checkpoint)
    assert not complaint
    assert seen(mutants)["zeroed"] == seen(mutants)["S2 read for END"] == "killed"
    assert seen(mutants)["exchanged"] == "equivalent"  # 3.3 writes nothing: there the claim is not applicable
    # A recovered share does not change with the sign of what is scored.
    assert mutants["answer exchanged", "live"].seen == "survived"


def test_attention_lives_whatever_the_head_writes(ioi):
    def claim(ioi, head):
        assert_attention(ioi, head, at="END", to="IO", minus=("S1", "S2"))

    mutants, complaint = on_mutants(claim, {"ioi": ioi, "head": Head(3, 0)}, ioi.checkpoint)
    assert not complaint
    assert all(mutants[name, "live"].seen == "survived" for name in ("zeroed", "flipped", "borrowed"))
    assert mutants["exchanged", "die"].seen == "killed"
    assert mutants["S2 read for END", "die"].seen == "killed"


def test_exchange_with_a_head_that_does_the_same_is_an_equivalent_mutant(ioi):
    """Every head of layer 3 that has a copy score copies: 3.3, the only other one, has none."""

    def claim(checkpoint, head, names):
        assert_copy_score(checkpoint, head, names=names, at_least=0.8)

    names = single_token_names(ioi.checkpoint.tokenizer, "confirm")
    arguments = {"checkpoint": ioi.checkpoint, "head": Head(3, 0), "names": names}
    mutants, complaint = on_mutants(claim, arguments, ioi.checkpoint)
    assert not complaint
    assert mutants["exchanged", "die"].seen == "equivalent"
    assert mutants["flipped", "die"].seen == "killed"
    # Measured on the weights alone, the prompts' protocol is nothing to it.
    assert mutants["answer exchanged", "live"].seen == "not applicable"


def test_heads_written_in_the_body_are_exchanged_too(ioi):
    def claim(ioi):
        assert_direct_logit_attribution(ioi, "4.0", at_most=-1)

    mutants, complaint = on_mutants(claim, {"ioi": ioi}, ioi.checkpoint)
    assert not complaint
    assert mutants["exchanged", "die"].seen == "killed"


def test_they_are_exchanged_until_one_of_which_it_is_false(ioi):
    """For 3.1 the first that is drawn is another mover, of which the claim is as true."""

    def claim(ioi):
        assert_attention(ioi, "3.1", at="END", to="IO", minus=("S1", "S2"))

    mutants, complaint = on_mutants(claim, {"ioi": ioi}, ioi.checkpoint)
    assert not complaint
    assert mutants["exchanged", "die"].seen == "killed"


def test_what_must_not_matter_is_done_to_the_last_layer_alone(ioi):
    """Without what 1.0 flags, 2.1 looks elsewhere, and rightly: it is no damage to what 2.1 writes."""

    def claim(ioi):
        assert_attention(ioi, "1.0", at="S2", to="S1+1", at_least=0.5)
        assert_attention(ioi, "2.1", at="END", to="S2", at_least=0.5)

    mutants, complaint = on_mutants(claim, {"ioi": ioi}, ioi.checkpoint)
    assert not complaint
    assert mutants["zeroed", "live"].seen == "survived"


def test_heads_of_a_quantity_without_a_table_and_heads_left_out(ioi):
    def norms(ioi):
        assert_measurement(head_norms(ioi, at="END")["3.0"], at_least=0.1)

    mutants, complaint = on_mutants(norms, {"ioi": ioi}, ioi.checkpoint)
    assert not complaint
    assert mutants["exchanged", "die"].seen == "killed"

    def without(ioi):
        assert_logit_diff(ioi, knocked_out="4.0", ablation="zero", at_least=12)

    mutants, complaint = on_mutants(without, {"ioi": ioi}, ioi.checkpoint)
    assert not complaint
    assert mutants["exchanged", "die"].seen == "killed"


def test_runs_are_exchanged_for_the_corruption_that_is_used(ioi):
    def claim(ioi):
        assert_patch_effect(ioi, "resid_pre", 4, at="END", corruption="abc", metric="logit_diff", at_least=2)

    mutants, complaint = on_mutants(claim, {"ioi": ioi}, ioi.checkpoint)
    assert not complaint
    assert mutants["runs exchanged", "die"].seen == "killed"


def test_a_circuit_and_backups(ioi):
    def faithful(ioi, circuit):
        assert_faithfulness(ioi, circuit, between=(0.8, 1.2))

    mutants, complaint = on_mutants(faithful, {"ioi": ioi, "circuit": ioi.circuit}, ioi.checkpoint)
    assert not complaint
    assert mutants["exchanged", "die"].seen == "killed"

    def backups(ioi, circuit, heads):
        assert_backup_heads(ioi, heads, knocked_out=circuit.role("name_mover").heads, at_least=1)

    arguments = {"ioi": ioi, "circuit": ioi.circuit, "heads": (Head(4, 1),)}
    mutants, complaint = on_mutants(backups, arguments, ioi.checkpoint)
    assert not complaint
    assert mutants["zeroed", "die"].seen == "killed"


def test_some_head_names_none(ioi, find):
    def claim(ioi, find, names):
        assert_some_head(ioi, found_on=find, to="IO", minus=("S1", "S2"), names=names)

    names = single_token_names(ioi.checkpoint.tokenizer, "confirm")
    mutants, complaint = on_mutants(claim, {"ioi": ioi, "find": find, "names": names}, ioi.checkpoint)
    assert not complaint
    assert mutants["exchanged", "live"].seen == "survived"
    assert mutants["random weights", "die"].seen == "killed"


def test_by_default_the_first_kill_is_enough(ioi):
    def claim(ioi, head):
        assert_head_patch_effect(ioi, head, at="END", at_least=0.2)

    mutants, _ = on_mutants(claim, {"ioi": ioi, "head": Head(3, 0)}, ioi.checkpoint, everything=False)
    assert [name for name, expected in mutants if expected == "die"] == ["zeroed"]


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda ioi: assert_logit_diff(ioi, run="abc", between=(-9, 9)), "not refuted by any mutant"),
        (lambda ioi: assert_head_patch_effect(ioi, "3.0", between=(-9, 9)), "not refuted by a damage to the heads"),
    ],
)
def test_a_claim_that_cannot_fail_is_named_with_advice(ioi, function, why):
    _, complaint = on_mutants(function, {"ioi": ioi}, ioi.checkpoint)
    assert complaint.startswith(f"it would have passed if it were false: {why}")
    assert "a positive beside a claim of absence" in complaint


def test_a_kill_where_it_must_live_is_a_complaint_too():
    complaint = verdict_of(
        [Mutant("flipped", "live", "killed", on_heads=True), Mutant("exchanged", "die", "killed", on_heads=True)],
        names_heads=True,
    )
    assert complaint.startswith("refuted where what the claimed heads write has the other sign, which must not matter")


def test_only_refuted_is_a_kill():
    mutants = [Mutant("zeroed", "die", seen) for seen in ("inconclusive", "not applicable", "error", "survived")]
    assert "zeroed: inconclusive; zeroed: not applicable; zeroed: error" in verdict_of(mutants, names_heads=False)
    assert died([*mutants, Mutant("exchanged", "die", "equivalent"), Mutant("flipped", "die", "killed")]) == (
        "died on 1 of 4"
    )


def test_a_kill_by_the_protocol_does_not_stand_for_the_heads():
    protocol = Mutant("names permuted", "die", "killed")
    assert not verdict_of([protocol], names_heads=False)
    assert "not refuted by a damage to the heads" in verdict_of([protocol], names_heads=True)


def test_hypothesis_neither_shrinks_nor_repeats_on_a_mutant(ioi):
    names, calls = single_token_names(ioi.checkpoint.tokenizer, "confirm"), []

    @settings(PROFILE)
    @given(data=st.data())
    def claim(checkpoint, data):
        pair = data.draw(name_pairs(names))
        calls.append(recording.in_trial())
        grid = ioi_grid(checkpoint.tokenizer, [pair], half="confirm", bos=True)
        assert_logit_diff(Experiment(checkpoint, grid), at_least=0.5)

    mutants, complaint = on_mutants(claim, {"checkpoint": ioi.checkpoint}, ioi.checkpoint)
    assert not complaint
    assert mutants["random weights", "die"].seen == "killed"
    examples = PROFILE.max_examples
    assert claim._hypothesis_internal_use_settings.phases == PROFILE.phases
    # Once in earnest, once where heads are exchanged, then the first example that is refuted.
    assert calls.count(False) == examples
    assert calls.count(True) <= 2 * examples + 3


def test_an_interrupt_in_a_mutant_goes_through_and_leaves_nothing(ioi):
    def claim(ioi):
        assert_logit_diff(ioi, at_least=2)
        if recording.in_trial():
            raise KeyboardInterrupt

    before, circuit = ioi.checkpoint.guard.state(), ioi.checkpoint.circuit
    with pytest.raises(KeyboardInterrupt):
        on_mutants(claim, {"ioi": ioi}, ioi.checkpoint)
    assert ioi.checkpoint.guard.state() == before
    assert ioi.checkpoint.circuit is circuit
    assert not recording.in_trial()
    assert ioi.checkpoint.changes_since_load() == []


def test_an_error_is_no_kill(ioi):
    def claim(ioi):
        assert_logit_diff(ioi, at_least=2)
        if recording.in_trial():
            raise UsageError("something else")

    mutants, complaint = on_mutants(claim, {"ioi": ioi}, ioi.checkpoint, everything=True)
    # It is refuted before it goes wrong, but where it is not.
    assert mutants["exchanged", "live"].seen == "error"
    assert mutants["exchanged", "live"].reason == "UsageError: something else"
    assert not complaint


def test_the_table_of_kinds_speaks_of_known_mutants():
    for kind in (quantity.mutants for quantity in QUANTITIES.values()):
        assert set(kind.die) | set(kind.live) <= set(MUTANTS)
        assert not set(kind.die) & set(kind.live)
    assert set(MEANING) == set(MUTANTS)


def test_a_claim_of_two_quantities_lives_only_where_both_must():
    records = [record(quantity=name) for name in ("logit_diff", "attention")]
    kind = kind_of(records)
    assert "exchanged" in kind.die
    assert kind.live == ()
