"""Patching: the planted truth, what must not show, and bad input."""

from dataclasses import replace

import pytest
import torch
from models import ROOT, experiment_on

from pytest_interp import Head, KVHead, Metric, load_circuit
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    ablation_effect,
    ablation_effect_sweep,
    completeness,
    faithfulness,
    flips,
    head_patch_effect,
    logit_diff,
    minimality,
    patch_effect,
    patch_effect_sweep,
    path_patch_effect,
)

MOVERS, BACKUP, NEGATIVE = ("3.0", "3.1", "3.2"), "4.1", "4.0"


def test_patch_effects_follow_from_the_construction(planted_ioi):
    total = 2 * logit_diff(planted_ioi).value
    # All movers at once: 13 logits of IO for 13 of S, seen by the negative head, which turns round.
    together = head_patch_effect(planted_ioi, MOVERS, at="END")
    assert together.value > 0.7
    # The inhibition heads stand in for each other: each alone moves about half, both move everything but what
    # the induction head has already put at S2.
    both = head_patch_effect(planted_ioi, ("2.0", "2.1"), at="END")
    assert both.value == pytest.approx(1, abs=0.01)
    assert 0.4 < head_patch_effect(planted_ioi, "2.0", at="END").value < 0.6
    # A head that reads before S2 is invisible to the exchange of S2, at END a head of the chain too.
    for head, at in (("0.0", "S1+1"), ("0.1", "END"), ("3.3", None)):
        with pytest.raises(NotApplicable, match="is equal in the clean run and under 's2-exchanged' on all 24 prompts"):
            head_patch_effect(planted_ioi, head, at=at)
    change = head_patch_effect(planted_ioi, NEGATIVE, at="END", metric="logit_diff")
    assert change.value == pytest.approx(-8, abs=0.01)
    assert head_patch_effect(planted_ioi, NEGATIVE, at="END").value == pytest.approx(-8 / total, abs=1e-3)


def test_everything_from_the_clean_run_recovers_the_clean_run(planted_ioi):
    heads = [Head(layer, head) for layer in range(5) for head in range(4)]
    assert head_patch_effect(planted_ioi, heads).value == pytest.approx(1, abs=1e-5)
    assert head_patch_effect(planted_ioi, heads, direction="noise", metric="logit_diff").value == pytest.approx(
        -2 * logit_diff(planted_ioi).value, abs=1e-3
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": "5.0"}, r"no head 5.0: its layers are 0 to 4, the heads of each 0 to 3"),
        ({"at": "S3"}, "no position 'S3'; it has .*nearest: S2"),
        ({"corruption": "abcd"}, "no corruption 'abcd'; .*nearest: abc"),
        ({"direction": "up"}, "direction is 'up'"),
        ({"site": "zz"}, "site is 'zz'"),
        ({"metric": "kll"}, "'kll' is no metric; .*nearest: kl"),
    ],
)
def test_bad_patches_get_a_sentence(planted_ioi, change, message):
    with pytest.raises(UsageError, match=message):
        head_patch_effect(planted_ioi, **{"heads": "3.0", **change})


def test_grouped_key_value_heads_are_patched_once_and_named(llama_like):
    experiment = experiment_on(llama_like, n=6)
    effect = head_patch_effect(experiment, "1.4", site="v", metric="logit_diff")
    assert effect.context.to_json()["kv_heads"] == {"kv 1.1": ["1.3", "1.4", "1.5"]}
    same = head_patch_effect(experiment, ("1.3", "1.5"), site="v", metric="logit_diff")
    assert same.values == pytest.approx(effect.values, abs=1e-6)
    other = head_patch_effect(experiment, "1.0", site="v", metric="logit_diff")
    assert other.values != pytest.approx(effect.values, abs=1e-4)


def test_a_task_of_ones_own_can_be_patched_at_its_positions(gpt2_like):
    from pytest_interp import Experiment, from_strings

    text = "When Mary and John met near the beach, {} gave a book to"
    data = from_strings(
        gpt2_like.tokenizer, clean=[text.format("John")], answers=[" Mary"], distractors=[" John"],
        corrupted={"giver": [text.format("Mary")]}, positions={"giver": ["John"]}, bos=True,
        population="fixed",
    )  # fmt: skip
    experiment = Experiment(gpt2_like, data)
    for direction in ("denoise", "noise"):
        effect = head_patch_effect(
            experiment, "1.1", at="giver", direction=direction, corruption="giver", metric="logit_diff"
        )
        assert abs(effect.value) > 1e-3


INHIBITION = ["2.0", "2.1"]


CIRCUIT = load_circuit(ROOT / "claims" / "circuits" / "planted-ioi.toml")


CLEAN, HALF, NONE = 8.854, 6.644, -1 / 3


def near(value, tolerance=0.01):
    return pytest.approx(value, abs=tolerance)


def test_the_answer_moves_from_s2_to_end_where_the_inhibition_writes_it(planted_ioi):
    table = patch_effect_sweep(planted_ioi, "resid_pre", corruption="s2-exchanged")
    assert [table[layer, "S2"].value for layer in range(3)] == [near(1)] * 3
    assert (table[3, "S2"].value, table[3, "END"].value) == (near(0), near(1))
    # Elsewhere both runs are equal: before S2, and at END until something is written there.
    equal = {(layer, "END") for layer in range(3)} | {(layer, at) for layer in range(5) for at in ("IO", "S1", "S1+1")}
    assert set(table.undefined) == equal


def test_outputs_of_layers(planted_ioi):
    attn = patch_effect_sweep(planted_ioi, "attn_out")
    with pytest.raises(NotApplicable, match="no cell is defined: mlp_out of layer 0 at IO is equal"):
        patch_effect_sweep(planted_ioi, "mlp_out")  # the planted MLPs are zero
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
    selection = planted_ioi.select(order="ABBA", IO=planted_ioi.data.clean.prompts[0].tags["IO"])
    end = selection.data.clean.groups[0].tokens.shape[1] - 1
    named, index = (head_patch_effect(selection, "3.0", at=at, metric="logit_diff").values for at in ("END", end))
    assert named == index
    both = patch_effect(planted_ioi, "resid_pre", 2, at=("S2", "END"))
    assert both.value == near(1)
    assert both.context.at == ["S2", "END"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: patch_effect(e, "resid", 0), "site is 'resid'; .*nearest: resid_pre"),
        (lambda e: patch_effect(e, "resid_pre", 5), "no layer 5: pass 0 to 4"),
        (lambda e: patch_effect(e, "resid_pre", 0, at="S3"), "no position 'S3'"),
        (lambda e: patch_effect(e, "resid_pre", 0, at=3), "position 3 is an index, but the prompts .* lengths"),
        (lambda e: patch_effect(e, "resid_pre", 0, at=()), "empty list of positions"),
        (lambda e: patch_effect(e, "resid_pre", 0, metric="log_probs"), "'log_probs' is no metric; .*: log_prob"),
        (lambda e: patch_effect_sweep(e, "zz"), "site is 'zz'"),
        (lambda e: head_patch_effect(e, KVHead(3, 4), site="k"), "no kv 3.4: .*key-value heads of each 0 to 3"),
        (lambda e: head_patch_effect(e, KVHead(3, 0), site="z"), "it has k and v, no z"),
        (lambda e: path_patch_effect(e, "2.0", MOVERS), "into is None; allowed for heads: 'q', 'k', 'v'"),
        (lambda e: path_patch_effect(e, "2.0", "logits", into="q"), "leave it out for the logits"),
        (lambda e: path_patch_effect(e, "2.0", "logits", corruption="clean"), "changes no prompt"),
        (lambda e: path_patch_effect(e, "2.0", "logits", mlps="freez"), "mlps is 'freez'"),
        (lambda e: ablation_effect(e, []), "empty set of heads"),
        (lambda e: ablation_effect(e, "3.0", ablation="none"), "ablation is 'none'; allowed: 'mean', 'zero'"),
        (lambda e: ablation_effect_sweep(e, layers=[]), "no layers to sweep over"),
        (lambda e: faithfulness(e, []), "empty set of heads"),
        (lambda e: faithfulness(e, {}), "the circuit has no heads"),
        (lambda e: completeness(e, CIRCUIT, knocked_out=["4.3"]), "K has 4.3, not in the circuit"),
        (lambda e: minimality(e, "3.0", CIRCUIT, knocked_out=["3.0", "3.1"]), r"K \(3.0, 3.1\) contains 3.0, the"),
        (lambda e: Metric("kl", token="x"), "kl is not of one token"),
        (lambda e: ablation_effect(e, "3.0", metric=Metric("log_prob", token="next")), "no token follows END"),
    ],
)
def test_bad_input_gets_a_sentence(planted_ioi, call, message):
    with pytest.raises(UsageError, match=message):
        call(planted_ioi)


def test_a_reference_that_lacks_a_template(planted_ioi):
    template = planted_ioi.data.reference.prompts[0].template
    lacking = planted_ioi.data.clean
    rows = [i for i, prompt in enumerate(lacking.prompts) if prompt.template != template][:4]
    other = planted_ioi.data.rebuild(rows)
    data = replace(planted_ioi.data, reference=other.clean)
    with pytest.raises(UsageError, match="the reference of ioi/confirm has no prompts of the template"):
        ablation_effect(replace(planted_ioi, data=data), "3.0")
    with pytest.raises(UsageError, match="no reference prompts to take means over; pass ablation='zero'"):
        faithfulness(replace(planted_ioi, data=replace(planted_ioi.data, reference=None)), CIRCUIT)


def test_which_corruptions_flip_the_answer(planted_ioi):
    shares = {name: flips(planted_ioi, name).value for name in planted_ioi.data.corrupted}
    assert shares == {"s2-exchanged": 1, "names-exchanged": 1, "abc": 0, "random-names": 0}


def test_hooks_are_gone_after_an_error(planted_ioi):
    with pytest.raises(UsageError):
        ablation_effect(planted_ioi, "3.0", at="S9")
    with pytest.raises(UsageError):
        faithfulness(planted_ioi, {Head(3, 0): "S9"})
    assert planted_ioi.checkpoint.changes_since_load() == []
