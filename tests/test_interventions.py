"""Patching of streams, paths, ablation, circuits: the planted truth, what must not show, and bad input."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import experiment_on
from pytest_interp import Head, KVHead, Metric, load_circuit
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    ablation_effect,
    ablation_sweep,
    completeness,
    faithfulness,
    flips,
    head_patch_effect,
    logit_diff,
    minimality,
    patch_effect,
    patch_sweep,
    path_patch_effect,
    path_patch_sweep,
)

MOVERS, INHIBITION = ["3.0", "3.1", "3.2"], ["2.0", "2.1"]
CIRCUIT = load_circuit(Path(__file__).parents[1] / "claims" / "circuits" / "planted-ioi.toml")
# By construction: 8.854 in all, 6.64 with one of the two inhibitors' codes, -1/3 without any.
CLEAN, HALF, NONE = 8.854, 6.644, -1 / 3


def near(value, tolerance=0.01):
    return pytest.approx(value, abs=tolerance)


# ---- residual stream, by layer and position


def test_the_answer_moves_from_s2_to_end_where_the_inhibition_writes_it(planted_ioi):
    table = patch_sweep(planted_ioi, "resid_pre", corruption="s2-exchanged")
    assert [table[layer, "S2"].value for layer in range(3)] == [near(1)] * 3
    assert (table[3, "S2"].value, table[3, "END"].value) == (near(0), near(1))
    # Elsewhere both runs are equal: before S2, and at END until something is written there.
    equal = {(layer, "END") for layer in range(3)} | {(layer, at) for layer in range(5) for at in ("IO", "S1", "S1+1")}
    assert set(table.undefined) == equal


def test_outputs_of_layers(planted_ioi):
    attn = patch_sweep(planted_ioi, "attn_out")
    with pytest.raises(NotApplicable, match="no cell is defined: mlp_out of layer 0 at IO is equal"):
        patch_sweep(planted_ioi, "mlp_out")  # the planted MLPs are zero
    # Layer 2 moves the answer to END. With layer 3's output alone, the inhibition is still that of the corrupted run:
    # the backup finds S neither inhibited nor in the output, and writes it with gain 5.
    assert attn[2, "END"].value == near(1)
    assert attn[3, "END"].value == near((2 * CLEAN - 5) / (2 * CLEAN))


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_whole_stream_is_the_whole_effect(small, direction):
    """Exchanging everything at the first layer is exchanging the run: on any model."""
    experiment = experiment_on(small)
    effect = patch_effect(experiment, "resid_pre", 0, direction=direction, metric="logit_diff")
    clean, corrupted = (torch.tensor(logit_diff(experiment, run=run).values) for run in ("clean", "s2-exchanged"))
    expected = clean - corrupted if direction == "denoise" else corrupted - clean
    assert torch.allclose(torch.tensor(effect.values), expected, atol=1e-4)


def test_other_metrics(planted_ioi):
    kl = head_patch_effect(planted_ioi, MOVERS, at="END", direction="noise", metric="kl")
    assert kl.unit == "nats"
    assert min(kl.values) > 1
    s = Metric("log_prob", token="next", at="S2")
    # What follows S2 is read before END: patching at END cannot reach it.
    with pytest.raises(NotApplicable, match="under 's2-exchanged' as far as S2, which is read, on all 24 prompts"):
        head_patch_effect(planted_ioi, MOVERS, at="END", metric=s)


def test_positions_by_index_and_several(planted_ioi):
    one = planted_ioi.where(order="ABBA", IO=planted_ioi.data.clean.prompts[0].tags["IO"])
    end = one.data.clean.groups[0].tokens.shape[1] - 1
    named, index = (head_patch_effect(one, "3.0", at=at, metric="logit_diff").values for at in ("END", end))
    assert named == index
    both = patch_effect(planted_ioi, "resid_pre", 2, at=("S2", "END"))
    assert both.value == near(1)
    assert both.about["at"] == ["S2", "END"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: patch_effect(e, "resid", 0), "site is 'resid'; .*nearest: resid_pre"),
        (lambda e: patch_effect(e, "resid_pre", 5), "no layer 5: pass 0 to 4"),
        (lambda e: patch_effect(e, "resid_pre", 0, at="S3"), "no position 'S3'"),
        (lambda e: patch_effect(e, "resid_pre", 0, at=3), "position 3 is an index, but the prompts .* lengths"),
        (lambda e: patch_effect(e, "resid_pre", 0, at=()), "empty list of positions"),
        (lambda e: patch_effect(e, "resid_pre", 0, metric="log_probs"), "'log_probs' is no metric; .*: log_prob"),
        (lambda e: patch_sweep(e, "zz"), "site is 'zz'"),
        (lambda e: head_patch_effect(e, KVHead(3, 4), activation="k"), "no kv 3.4: .*key-value heads of each 0 to 3"),
        (lambda e: head_patch_effect(e, KVHead(3, 0), activation="z"), "it has k and v, no z"),
        (lambda e: path_patch_effect(e, "2.0", MOVERS), "into is None; allowed for heads: 'q', 'k', 'v'"),
        (lambda e: path_patch_effect(e, "2.0", "logits", into="q"), "leave it out for the logits"),
        (lambda e: path_patch_effect(e, "2.0", "logits", corruption="clean"), "changes no prompt"),
        (lambda e: path_patch_effect(e, "2.0", "logits", mlps="freez"), "mlps is 'freez'"),
        (lambda e: ablation_effect(e, []), "empty set of heads"),
        (lambda e: ablation_effect(e, "3.0", ablation="none"), "ablation is 'none'; allowed: 'mean', 'zero'"),
        (lambda e: ablation_sweep(e, layers=[]), "no layers to sweep over"),
        (lambda e: faithfulness(e, []), "empty set of heads"),
        (lambda e: faithfulness(e, {}), "the circuit has no heads"),
        (lambda e: completeness(e, CIRCUIT, ["4.3"]), "K has 4.3, not in the circuit"),
        (lambda e: minimality(e, CIRCUIT, "3.0", ["3.0", "3.1"]), r"K \(3.0, 3.1\) contains 3.0, the"),
        (lambda e: Metric("kl", token="x"), "kl is not of one token"),
        (lambda e: ablation_effect(e, "3.0", metric=Metric("log_prob", token="next")), "no token follows END"),
    ],
)
def test_bad_input_gets_a_sentence(planted_ioi, call, message):
    with pytest.raises(UsageError, match=message):
        call(planted_ioi)


def test_a_receiver_that_is_not_after_its_sender_is_undefined(planted_ioi):
    for sender in ("3.0", "4.0"):
        with pytest.raises(NotApplicable, match="comes after a sender of .*: the effect is undefined, not zero"):
            path_patch_effect(planted_ioi, sender, MOVERS, into="q")
    assert max(head.layer for head in path_patch_sweep(planted_ioi, MOVERS, into="q")) == 2


def test_a_reference_that_lacks_a_template(planted_ioi):
    some = planted_ioi.data.reference.prompts[0].template
    lacking = planted_ioi.data.clean
    kept = [i for i, prompt in enumerate(lacking.prompts) if prompt.template != some][:4]
    other = planted_ioi.data.rebuild(kept)
    data = replace(planted_ioi.data, reference=other.clean)
    with pytest.raises(UsageError, match="the reference of ioi/confirm has no prompts of the template"):
        ablation_effect(replace(planted_ioi, data=data), "3.0")
    with pytest.raises(UsageError, match="no reference prompts to take means over; pass ablation='zero'"):
        faithfulness(replace(planted_ioi, data=replace(planted_ioi.data, reference=None)), CIRCUIT)


# ---- paths


def test_paths_into_the_logits_are_what_heads_write(planted_ioi):
    table = path_patch_sweep(planted_ioi, "logits")
    gains = {"3.0": -6, "3.1": -4, "3.2": -3, "4.0": 4}
    for head, one in table.items():
        assert one.value == near(gains.get(str(head), 0), 0.07)


def test_the_inhibition_acts_on_the_movers_queries_alone(planted_ioi):
    both = path_patch_effect(planted_ioi, INHIBITION, MOVERS, into="q")
    assert both.value == near(NONE - CLEAN, 0.02)
    # Each alone takes away half of the inhibition.
    assert path_patch_effect(planted_ioi, "2.0", MOVERS, into="q").value == near(HALF - CLEAN)
    for other in ({"into": "k", "at": None}, {"into": "v", "at": None}, {"into": "q", "at": "S2"}):
        assert path_patch_effect(planted_ioi, INHIBITION, MOVERS, **other).value == near(0, 1e-4)
    share = path_patch_effect(planted_ioi, INHIBITION, MOVERS, into="q", metric="of_clean")
    assert share.value == near((NONE - CLEAN) / CLEAN)


def test_the_induction_head_reads_the_previous_token_head_at_s1_next(planted_ioi):
    assert path_patch_effect(planted_ioi, "0.0", "1.0", into="k", at="S1+1").value == near(HALF - CLEAN)
    for at in ("S1", "S2", "END"):  # the words before these are the template's
        with pytest.raises(NotApplicable, match=f"what 0.0 sends at {at} is equal in the clean run and under 'abc'"):
            path_patch_effect(planted_ioi, "0.0", "1.0", into="k", at=at)
    assert path_patch_effect(planted_ioi, "0.1", "1.0", into="k", at=None).value == near(0, 1e-4)


def test_flags_reach_the_inhibition_through_its_keys_at_s2(planted_ioi):
    assert path_patch_effect(planted_ioi, "0.1", "2.0", into="k", at="S2").value == near(HALF - CLEAN)
    assert path_patch_effect(planted_ioi, "0.1", "2.1", into="k", at="S2").value == near(0, 1e-4)
    assert path_patch_effect(planted_ioi, ["0.1", "1.0"], INHIBITION, into="k", at="S2").value == near(
        NONE - CLEAN, 0.02
    )


def test_receivers_in_several_layers(planted_ioi):
    # The backup's query has no inhibition either, while the movers, frozen in pass 1, still put IO into the output:
    # it goes to S and writes it with gain 5.
    effect = path_patch_effect(planted_ioi, INHIBITION, [*MOVERS, "4.1"], into="q")
    assert effect.value == near(NONE - 5 - CLEAN, 0.05)


def test_a_private_copy_changes_no_other_head(llama_like):
    """Three query heads share a key-value head; the path into one of them is the sum of nothing else."""
    experiment = experiment_on(llama_like)
    group = [Head(2, 0), Head(2, 1), Head(2, 2)]
    for into in ("k", "v"):
        alone = path_patch_effect(experiment, "0.3", group[0], into=into, at=None)
        others = path_patch_effect(experiment, "0.3", group[1:], into=into, at=None)
        together = path_patch_effect(experiment, "0.3", group, into=into, at=None)
        assert max(map(abs, alone.values)) > 1e-4
        assert max(abs(a - b) for a, b in zip(alone.values, together.values, strict=True)) > 1e-4
        assert max(abs(a - b) for a, b in zip(alone.values, others.values, strict=True)) > 1e-4


# ---- ablation


@pytest.mark.parametrize(
    ("heads", "expected"), [(MOVERS, 4.988), (["4.0"], 12.854), (INHIBITION, NONE), (["2.0"], HALF)]
)
def test_zero_ablation(planted_ioi, heads, expected):
    assert ablation_effect(planted_ioi, heads, ablation="zero").value == near(expected - CLEAN, 0.02)


def test_an_ablation_where_the_head_does_nothing_does_nothing(planted_ioi):
    for ablation in ("mean", "zero", "resample"):
        assert ablation_effect(planted_ioi, MOVERS, ablation=ablation, at="IO").value == near(0, 1e-4)
    assert ablation_effect(planted_ioi, "0.0", ablation="zero", at="S1+1").value == near(HALF - CLEAN)
    assert ablation_effect(planted_ioi, "0.0", ablation="zero", at="END").value == near(0, 1e-4)


def test_random_ablations_follow_the_seed(planted_ioi):
    for ablation in ("resample", "permute"):
        one, same, other = (
            ablation_effect(replace(planted_ioi, seed=seed), "3.0", ablation=ablation, at=None).values
            for seed in (0, 0, 1)
        )
        assert one == same != other


def test_the_sweep_finds_who_matters(planted_ioi):
    table = ablation_sweep(planted_ioi, ablation="zero")
    assert [str(head) for head, _ in table.top(2, most="negative")] == ["3.0", "3.1"]
    assert table["4.0"].value == near(4)


# ---- the circuit


def test_the_planted_circuit_is_the_model(planted_ioi):
    assert faithfulness(planted_ioi, CIRCUIT).value == near(1, 1e-4)
    assert completeness(planted_ioi, CIRCUIT, []).value == near(0, 1e-3)
    for lost in (MOVERS, INHIBITION, ["0.1", "4.0"]):
        assert completeness(planted_ioi, CIRCUIT, lost).value == near(0, 0.05)


def test_a_circuit_that_lacks_a_head_shows_it(planted_ioi):
    lacking = {head: None for role in CIRCUIT.roles.values() for head in role.heads if str(head) != "1.0"}
    assert faithfulness(planted_ioi, lacking).value < 0.8
    # Where nothing else carries the repetition, the gap is the whole of what the head does.
    assert completeness(planted_ioi, lacking, ["0.1"]).value < -5


def test_heads_kept_at_the_wrong_position_are_lost(planted_ioi):
    wrong = {head: "IO" for role in CIRCUIT.roles.values() for head in role.heads}
    assert abs(faithfulness(planted_ioi, wrong).value) < 0.1


def test_what_each_head_adds(planted_ioi):
    assert minimality(planted_ioi, CIRCUIT, "3.0").value > 5
    # The backup adds nothing while the movers are there, and a lot when they are not.
    assert abs(minimality(planted_ioi, CIRCUIT, "4.1").value) < 0.05
    assert minimality(planted_ioi, CIRCUIT, "4.1", MOVERS).value > 3
    assert minimality(planted_ioi, CIRCUIT, "3.0", metric="of_model").value > 0.5


# ---- corruptions


def test_which_corruptions_flip_the_answer(planted_ioi):
    shares = {name: flips(planted_ioi, name).value for name in planted_ioi.data.corrupted}
    assert shares == {"s2-exchanged": 1, "names-exchanged": 1, "abc": 0, "random-names": 0}


def test_hooks_are_gone_after_an_error(planted_ioi):
    with pytest.raises(UsageError):
        ablation_effect(planted_ioi, "3.0", at="S9")
    with pytest.raises(UsageError):
        faithfulness(planted_ioi, {Head(3, 0): "S9"})
    assert planted_ioi.checkpoint.disturbed() == []
