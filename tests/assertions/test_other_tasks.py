"""What a knock-out costs on another task, on a planted model that copies tokens with two of its heads."""

import pytest
from models import CLAIMS, experiment_on

from pytest_interp import (
    Checkpoint,
    ClaimFailed,
    Experiment,
    UsageError,
    assert_ablation_effect,
    assert_attention,
    assert_faithfulness,
    assert_head_patch_effect,
    assert_logit_diff,
    load_circuit,
)
from pytest_interp.checkpoints import known_specs
from pytest_interp.measure import ablation_effect, exchange_cost, head_patch_effect, knockout_cost, logit_diff
from pytest_interp.tasks import copied_tokens, sequences
from pytest_interp.tasks.reference import with_reference
from pytest_interp.verdict.recording import record_of

ON_COPIES = {"other_task": 1}
MOVERS = ["3.0", "3.1", "3.2"]


@pytest.fixture(scope="module")
def ioi():
    circuit = load_circuit(CLAIMS / "circuits" / "planted-ioi.toml")
    return experiment_on(Checkpoint(known_specs()["planted-ioi"], circuit))


@pytest.fixture(scope="module")
def copies(ioi):
    return Experiment(
        ioi.checkpoint, with_reference(copied_tokens(ioi.checkpoint.tokenizer, half="confirm", n=24, seed=1, bos=True))
    )


def share(verdict):
    """The control on the other task."""
    (control,) = [control for control in verdict.controls if control.kind == "other_task"]
    return control


def test_copied_tokens_are_the_task_of_two_planted_heads(copies):
    """The truth by construction: 1.0 reads what 0.0 leaves behind, and writes the answer; no mover does anything."""
    assert logit_diff(copies).value == pytest.approx(1, abs=0.05)
    for head in ("0.0", "1.0"):
        assert knockout_cost(copies, head, at=None).value == pytest.approx(1, abs=0.05)
        assert exchange_cost(copies, head, corruption="first-copy-changed").value == pytest.approx(1, abs=0.05)
    assert knockout_cost(copies, MOVERS, at=None).value == pytest.approx(0, abs=0.02)
    assert exchange_cost(copies, MOVERS, corruption="first-copy-changed").value == pytest.approx(0, abs=0.02)


def test_a_cost_is_the_effect_as_a_share_of_the_whole(ioi):
    cost, effect = knockout_cost(ioi, MOVERS), ablation_effect(ioi, MOVERS)
    assert cost.value == pytest.approx(-effect.value / logit_diff(ioi).value, abs=1e-5)
    cost = exchange_cost(ioi, "0.1", at="S2", corruption="abc")
    effect = head_patch_effect(ioi, "0.1", at="S2", corruption="abc", direction="noise", metric="logit_diff")
    assert cost.value == pytest.approx(-effect.value / logit_diff(ioi).value, abs=1e-5)


@pytest.mark.parametrize("how", ["ablation", "patch", "logit_diff"])
def test_other_heads_do_the_other_task(ioi, how):
    """The movers move names; repeated tokens are copied without them."""
    verdict = {
        "ablation": lambda: assert_ablation_effect(ioi, MOVERS, at_most=-1, controls=ON_COPIES, other_task_at_most=0.1),
        "patch": lambda: assert_head_patch_effect(
            ioi, MOVERS, at="END", at_least=0.5, controls=ON_COPIES, other_task_at_most=0.1
        ),
        "logit_diff": lambda: assert_logit_diff(
            ioi, knocked_out=MOVERS, at_most=5, controls=ON_COPIES, other_task_at_most=0.1
        ),
    }[how]()
    assert verdict.outcome == "supported"
    assert share(verdict).label == "share lost of copied_tokens"
    assert share(verdict).value == pytest.approx(0, abs=0.02)
    assert not share(verdict).same
    assert any("the same knock-out loses" in note for note in verdict.notes)


def test_the_same_heads_do_both(ioi):
    """Without the previous-token head neither task is done: said in the verdict, in the record, and boundable."""
    verdict = assert_ablation_effect(ioi, ["0.0", "0.1"], at=None, at_most=-1, controls=ON_COPIES)
    assert share(verdict).value == pytest.approx(1, abs=0.05)
    assert share(verdict).same
    assert "a control does the same: share lost of copied_tokens 1.0" in " ".join(verdict.caveats)
    record = record_of(verdict, "a knock-out")
    assert ("share lost of copied_tokens", pytest.approx(1, abs=0.05)) in record.controls
    assert any("share lost of copied_tokens" in text for text in record.controls_shown)
    with pytest.raises(ClaimFailed, match="each share lost on another task must be at most 0.2"):
        assert_ablation_effect(ioi, ["0.0", "0.1"], at=None, at_most=-1, controls=ON_COPIES, other_task_at_most=0.2)


def test_a_circuit_is_knocked_out_as_a_whole(ioi):
    """A circuit with both heads that copy, and one of movers, which has none of them."""
    both = assert_faithfulness(ioi, ["0.0", "1.0"], at_least=-9, controls=ON_COPIES)
    assert share(both).value == pytest.approx(1, abs=0.05)
    part = assert_faithfulness(ioi, MOVERS, at_least=-9, controls=ON_COPIES)
    assert share(part).value == pytest.approx(0, abs=0.02)


def test_positions_that_the_other_task_lacks_are_all_positions(ioi):
    verdict = assert_ablation_effect(ioi, "0.1", at="S2", at_most=-1, controls=ON_COPIES)
    assert share(verdict).value == pytest.approx(0, abs=0.02)
    assert "on copied_tokens it is at all positions: not all of S2 are there" in verdict.notes


def test_tasks_that_the_model_does_not_do_are_no_controls(ioi):
    verdict = assert_ablation_effect(ioi, MOVERS, at_most=-1, controls={"other_task": 2})
    assert share(verdict)
    (note,) = [note for note in verdict.notes if "other tasks could be measured" in note]
    assert note.startswith("1 of 2 other tasks could be measured: sequences: ")
    assert "capitals: " in note


def test_a_bound_without_a_task_to_measure_is_not_met(ioi, monkeypatch):
    monkeypatch.setattr("pytest_interp.assertions.other_tasks.OTHERS", ("sequences",))
    with pytest.raises(ClaimFailed, match="inconclusive(.|\n)*none could be measured"):
        assert_ablation_effect(ioi, MOVERS, at_most=-1, controls=ON_COPIES, other_task_at_most=0.1)


def test_what_cannot_be_asked_has_a_sentence(ioi):
    with pytest.raises(UsageError, match="this claim knocks out none"):
        assert_attention(ioi, "3.0", at="END", to="IO", at_least=0.5, controls=ON_COPIES)
    with pytest.raises(UsageError, match=r"pass controls=\{\"other_task\": 1\}"):
        assert_ablation_effect(ioi, MOVERS, at_most=-1, other_task_at_most=0.1)
    with pytest.raises(UsageError, match="4 controls of the kind other_task were asked for; allowed: 0 to 3"):
        assert_ablation_effect(ioi, MOVERS, at_most=-1, controls={"other_task": 4})


def test_a_reference_has_one_length_for_each_template(gpt2_tokenizer):
    data = with_reference(sequences(gpt2_tokenizer, half="confirm", n=24, seed=0, bos=True))
    assert data.reference is not None
    lengths = {}
    for run in (data.clean, data.reference):
        for group in run.groups:
            for row in group.rows:
                lengths.setdefault(run.prompts[row].template, set()).add(group.tokens.shape[1])
    assert all(len(of_template) == 1 for of_template in lengths.values())
    assert with_reference(data) is data
