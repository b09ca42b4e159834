"""Controls of each kind and of how many other heads a claim is true, on the planted model where both are known."""

from dataclasses import replace

import pytest
from models import CLAIMS, experiment_on

from pytest_interp import (
    Checkpoint,
    ClaimFailed,
    Head,
    assert_ablation_effect,
    assert_attention,
    assert_backup_heads,
    assert_component_attribution,
    assert_copy_score,
    assert_detector_score,
    assert_direct_logit_attribution,
    assert_faithfulness,
    assert_head_patch_effect,
    assert_logit_diff,
    assert_only,
    assert_patch_effect,
    assert_path_patch_effect,
    assert_top_k,
    load_circuit,
)
from pytest_interp.assertions.controls import draw_controls, draw_elsewhere
from pytest_interp.checkpoints import known_specs
from pytest_interp.errors import UsageError
from pytest_interp.measure import (
    copy_score_sweep,
    direct_logit_attribution_sweep,
    logit_diff,
)
from pytest_interp.tasks import repeated_tokens, single_token_names
from pytest_interp.verdict import recording


@pytest.fixture(scope="module")
def ioi():
    circuit = load_circuit(CLAIMS / "circuits" / "planted-ioi.toml")
    return experiment_on(Checkpoint(known_specs()["planted-ioi"], circuit))


def by_kind(verdict):
    kinds = {}
    for control in verdict.controls:
        kinds.setdefault(control.kind, []).append(control)
    return kinds


def test_heads_of_the_same_layer_and_of_others_are_outside_the_circuit(ioi):
    verdict = assert_direct_logit_attribution(ioi, "3.0", controls={"same_layer": 3, "other_layers": 6}, at_least=1)
    kinds = by_kind(verdict)
    assert [c.label for c in kinds["same_layer"]] == ["3.3"]
    others = [Head.parse(c.label) for c in kinds["other_layers"]]
    assert len(set(others)) == 6
    assert all(head.layer != 3 and head not in ioi.circuit.heads for head in others)
    assert all(c.value == pytest.approx(0, abs=1e-6) for c in verdict.controls)
    again = assert_direct_logit_attribution(ioi, "3.0", controls={"other_layers": 6}, at_least=1)
    assert [c.label for c in again.controls] == [c.label for c in kinds["other_layers"]]


def test_heads_with_a_role_on_random_tokens_are_no_controls(ioi):
    planted, circuit = ioi.checkpoint, ioi.checkpoint.circuit
    # Of layer 3 the circuit of the task leaves 3.3 alone.
    role = replace(circuit.roles["induction"], heads=(Head(3, 3),))
    assert draw_controls(planted, [Head(3, 0)], 3, 0) == [(Head(3, 3),)]
    with planted.claiming(replace(circuit, random_tokens={"induction": role})):
        assert draw_controls(planted, [Head(3, 0)], 3, 0) == []
        assert all((Head(3, 3),) != drawn for drawn in draw_elsewhere(planted, [Head(2, 0)], 20, 0))


def test_receivers_and_knocked_out_heads_are_no_controls(ioi):
    """2.3 and 3.3 are in no circuit; a claim that names them on its other side leaves them out of the draw."""
    controls = {"same_layer": 3, "other_layers": 20}
    path = assert_path_patch_effect(ioi, "2.0", ["2.3", "3.0", "3.3"], into="q", controls=controls, at_most=-1)
    labels = [control.label for control in path.controls]
    assert "2.2" in labels
    assert "1.3" in labels
    assert {"2.3", "3.3"}.isdisjoint(labels)
    knocked_out = ["3.0", "3.1", "3.2", "3.3"]
    backup = assert_backup_heads(ioi, "4.1", knocked_out=knocked_out, controls=controls, at_least=0.5)
    assert "3.3" not in [control.label for control in backup.controls]


def test_other_names_and_a_random_model(ioi):
    controls = {"other_names": 1, "random_model": 2}
    before = ioi.checkpoint.guard.state()
    verdict = assert_logit_diff(ioi, controls=controls, at_least=2)
    kinds = by_kind(verdict)
    assert [c.label for c in kinds["random_model"]] == ["random model 1", "random model 2"]
    assert abs(kinds["other_names"][0].value) < 0.1
    assert all(abs(c.value) < 2 for c in kinds["random_model"])
    assert ioi.checkpoint.guard.state() == before
    assert logit_diff(ioi).value == pytest.approx(8.854, abs=1e-2)


@pytest.mark.parametrize(
    "claim",
    [
        lambda e, c: assert_head_patch_effect(e, "3.0", at="END", metric="logit_diff", controls=c, at_least=1),
        lambda e, c: assert_ablation_effect(e, "3.0", controls=c, at_most=-1),
        lambda e, c: assert_patch_effect(e, "resid_pre", 0, at="S2", metric="logit_diff", controls=c, at_least=1),
        lambda e, c: assert_component_attribution(e, "attn_out", 3, controls=c, at_least=1),
        lambda e, c: assert_faithfulness(e, metric="logit_diff", controls=c, at_least=5),
        lambda e, c: assert_top_k(e, 1, controls=c, at_least=0.8),
        lambda e, c: assert_backup_heads(e, "4.1", knocked_out=["3.0", "3.1", "3.2"], controls=c, at_least=1),
    ],
)
def test_any_assertion_takes_them(ioi, claim):
    kinds = by_kind(claim(ioi, {"other_names": 1, "random_model": 1}))
    assert len(kinds["other_names"]) == len(kinds["random_model"]) == 1
    claimed = abs(claim(ioi, 0).measurement.value)
    assert all(c.value is None or abs(c.value) < claimed / 2 for c in (*kinds["other_names"], *kinds["random_model"]))


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({"same_layers": 3}, "'same_layers' is no kind of control; allowed: .*nearest: same_layer"),
        ({"same_layer": -1}, "-1 controls of the kind same_layer were asked for; allowed: 0 to 20, the heads"),
        ({"other_names": 2}, "allowed: 0 or 1"),
    ],
)
def test_what_is_no_control(ioi, controls, message):
    with pytest.raises(UsageError, match=message):
        assert_logit_diff(ioi, controls=controls, at_least=2)


def test_weights_alone_have_no_other_names(ioi):
    names = single_token_names(ioi.checkpoint.tokenizer, "confirm")
    with pytest.raises(UsageError, match="of the weights alone"):
        assert_copy_score(ioi.checkpoint, "3.0", names=names, controls={"other_names": 1}, at_least=0.8)


def test_an_empty_control_set_is_said(ioi):
    with pytest.raises(ClaimFailed) as failed:
        assert_direct_logit_attribution(ioi, ["3.0", "3.1", "3.2"], at_least=99)
    text = " ".join(str(failed.value).split())
    assert "no control: too few heads outside the circuit in the layers of 3.0, 3.1, 3.2" in text


def test_many_controls_are_shown_as_a_distribution(ioi):
    with pytest.raises(ClaimFailed) as failed:
        assert_direct_logit_attribution(ioi, "3.0", controls={"same_layer": 1, "other_layers": 7}, at_least=99)
    lines = str(failed.value).splitlines()
    assert "  controls    3.3 0.000" in lines
    text = " ".join(" ".join(lines).split())
    assert "7 of other layers: 0.000 to 0.000, median 0.000; 0 above the claimed" in text


# ---- specificity


def test_of_how_many_other_heads_it_is_true(ioi):
    names = single_token_names(ioi.checkpoint.tokenizer, "confirm")
    twice = experiment_on(ioi.checkpoint)
    data = repeated_tokens(ioi.checkpoint.tokenizer, length=19, n=8, seed=1, bos=True, complete=True)
    twice = type(twice)(ioi.checkpoint, data)
    for verdict, others in (
        (assert_attention(ioi, "3.0", at="END", to="IO", minus=("S1", "S2")), ("3.1", "3.2", "4.0")),
        (assert_direct_logit_attribution(ioi, "3.0", at_least=1), ("3.1", "3.2")),
        (assert_copy_score(ioi.checkpoint, "3.0", names=names, at_least=0.8), ("1.0", "3.1", "3.2", "4.1")),
        (assert_detector_score(twice, "0.0", "previous_token", at_least=0.5), ()),
    ):
        assert verdict.specific.true == others
        assert str(verdict.specific) == f"also true of {len(others)} of 19 other heads"
    assert assert_head_patch_effect(ioi, "3.0", at="END", at_least=0.1).specific is None  # not cheap
    assert assert_direct_logit_attribution(ioi, ["3.0", "3.1"], at_least=1).specific is None


def test_what_is_true_of_most_heads_is_called_unspecific(ioi):
    with recording.collecting() as records:
        verdict = assert_direct_logit_attribution(ioi, "3.0", at_least=-1)
    assert verdict.specific.unspecific
    assert "unspecific: also true of 18 of 19 other heads" in verdict.caveats
    assert records[0].specific == "also true of 18 of 19 other heads"


def test_in_a_trial_nothing_but_the_claim_is_measured(ioi):
    with recording.trial(until_refuted=False) as records:
        verdict = assert_direct_logit_attribution(ioi, "3.0", at_least=99)
    assert records[0].outcome == verdict.outcome == "refuted"
    assert verdict.controls == ()
    assert verdict.specific is None


# ---- only these


def test_these_and_no_other(ioi):
    table = direct_logit_attribution_sweep(ioi)
    verdict = assert_only(table, ["3.0", "3.1", "3.2"], at_least=0.5)
    assert verdict.details["others"].startswith("17 of 17 surely outside, level corrected")
    with pytest.raises(ClaimFailed, match="refuted"):
        assert_only(table, ["3.0", "3.1"], at_least=0.5)
    with pytest.raises(ClaimFailed, match="refuted"):
        assert_only(table, ["3.0", "3.1", "3.2", "4.0"], at_least=0.5)
    with pytest.raises(UsageError, match="0 of 20 cells were named"):
        assert_only(table, [], at_least=0.5)


def test_every_copy_score_at_once_is_each_alone(ioi):
    names = single_token_names(ioi.checkpoint.tokenizer, "confirm")
    table = copy_score_sweep(ioi.checkpoint, names=names)
    copying = {"1.0", "3.0", "3.1", "3.2", "4.1"}
    assert {str(head) for head, score in table.items() if score.value == 1} == copying
    assert "4.0" in set(map(str, table))
    assert set(map(str, copy_score_sweep(ioi.checkpoint, names=names, reach=0.8))) == copying


def test_controls_of_key_value_heads_are_other_key_value_heads(llama_like):
    from pytest_interp.assertions.controls import draw_controls

    for heads in draw_controls(llama_like, [Head(1, 0)], 3, seed=0, shared=True):
        assert {llama_like.kv_head(head).head for head in heads} == {1}
    assert draw_controls(llama_like, [Head(1, 0), Head(1, 3)], 3, seed=0, shared=True) == []
