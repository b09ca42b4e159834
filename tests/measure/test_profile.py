"""The profile of a checkpoint on planted models: what each number must be follows from the construction."""

import pytest
from device_marks import marked_devices
from models import ROOT, experiment_on

from pytest_interp import Checkpoint
from pytest_interp.checkpoints import known_specs
from pytest_interp.circuit_file import load_circuit
from pytest_interp.measure import attention, copy_score, faithfulness, head_patch_effect
from pytest_interp.measure.profile import profile_of
from pytest_interp.tasks import single_token_names

CIRCUIT = load_circuit(ROOT / "claims" / "circuits" / "planted-ioi.toml")


@pytest.fixture(scope="module")
def names(planted):
    return single_token_names(planted.tokenizer, "confirm")


@pytest.fixture(scope="module")
def profile(planted_ioi, names):
    return profile_of(planted_ioi, CIRCUIT, names=names, floor=True)


def test_each_role_is_found_at_its_planted_heads(profile):
    found = {scores.role: sorted(scores.found(scores.bound)) for scores in profile.draws[0].roles}
    assert found == {
        "name_mover": ["3.0", "3.1", "3.2"],
        "negative_name_mover": ["4.0"],
        "backup_name_mover": ["3.0", "3.1", "3.2"],  # the backup rests, and does not do on these prompts what it is for
        "s_inhibition": ["2.0", "2.1"],
        "induction": ["1.0"],
        "duplicate_token": ["0.1"],
        "previous_token": ["0.0"],
    }
    rules = {scores.role: scores.reads for scores in profile.draws[0].roles}
    assert rules["negative_name_mover"] == "END reads IO, less S1 and S2; times negative copy score"
    assert rules["s_inhibition"] == "END reads S2, less IO"
    assert rules["induction"] == "S2 reads S1+1"


def test_scores_and_effects_are_those_of_the_claims(profile, planted_ioi, names):
    draw = profile.draws[0]
    (movers,) = (scores for scores in draw.roles if scores.role == "name_mover")
    read = attention(planted_ioi, "3.1", at="END", to="IO", minus=("S1", "S2"))
    copied = copy_score(planted_ioi.checkpoint, "3.1", names=names, k=5).value
    assert movers.values["3.1"] == pytest.approx([copied * value for value in read.values], abs=1e-6)
    assert movers.rank("3.3") > 3
    effect = head_patch_effect(planted_ioi, "3.1", site="z", at="END", metric="logit_diff").value
    assert draw.effects["3.1"] == pytest.approx(effect, abs=1e-4)
    assert draw.effects["0.2"] == 0, "a head that is the same in both runs"
    assert draw.effects["1.0"] == 0, "induction acts at S2: at END there is float noise"
    whole = faithfulness(planted_ioi, CIRCUIT)
    assert sum(draw.faithfulness) / sum(draw.logit_diff) == pytest.approx(whole.value)


def test_the_second_draw_has_other_prompts(profile):
    first, second = (set(draw.sample.labels) for draw in profile.draws)
    assert not first & second
    assert len(first) == len(second)


def test_nothing_of_it_mixes_devices(names):
    with marked_devices():
        experiment = experiment_on(Checkpoint(known_specs()["planted-ioi"], device="cpu:0"), 6)
        (draw,) = profile_of(experiment, CIRCUIT, names=names[:12], floor=False).draws
    assert not draw.left_out
