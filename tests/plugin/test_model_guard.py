"""A claim that leaves hooks or changed weights behind fails, and the next one finds the model as it was."""

import pytest

HEAD = """
import pytest
from pytest_interp import assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

"""

CLAIMS = """
import pytest
from pytest_interp import assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

def test_1_leaves_a_hook(checkpoint, ioi):
    checkpoint.bridge.add_hook("blocks.3.attn.hook_z", lambda value, hook: value * 0)

def test_2_sees_a_clean_model(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_3_changes_weights(checkpoint, ioi):
    checkpoint.bridge.blocks[3].attn.o.weight.data.zero_()
    assert_logit_diff(ioi, near=(8.854, 9))

def test_4_sees_a_clean_model(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_5_fails_and_leaves_a_hook(checkpoint, ioi):
    checkpoint.bridge.add_hook("blocks.3.attn.hook_z", lambda value, hook: value)
    assert_logit_diff(ioi, at_least=99)

def test_6_sees_a_clean_model(checkpoint, ioi):
    assert checkpoint.changes_since_load() == []
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_7_weights_in_a_context_are_restored(checkpoint, ioi):
    with checkpoint.edited_weight(3, "o") as weight:
        weight.zero_()
        assert_logit_diff(ioi, at_most=6)
"""


FIXTURES = """
import pytest
from pytest_interp import assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

@pytest.fixture
def knocked_out(checkpoint):
    with checkpoint.edited_weight(3, "o") as weight:
        weight.zero_()
        yield

@pytest.fixture
def leaky(checkpoint):
    yield
    checkpoint.bridge.add_hook("blocks.3.attn.hook_z", lambda value, hook: value * 0)

def test_1_under_a_fixture_that_restores(ioi, knocked_out):
    assert_logit_diff(ioi, at_most=6)

def test_2_sees_a_clean_model(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_3_with_a_fixture_that_leaks(ioi, leaky):
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_4_sees_a_clean_model(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))
"""


def test_the_guard_knows_a_claims_fixtures_from_the_claim(claims_project):
    claims_project.makepyfile(FIXTURES)
    result = claims_project.runpytest()
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*after its fixtures, the claim left 1 hook attached on planted-ioi*"])


def test_the_guard(claims_project):
    claims_project.makepyfile(test_it=CLAIMS)
    result = claims_project.runpytest("-v")
    result.assert_outcomes(passed=4, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*test_1_leaves_a_hook?planted-ioi? FAILED*",
            "*test_2_sees_a_clean_model?planted-ioi? PASSED*",
            "*test_3_changes_weights?planted-ioi? FAILED*",
            "*test_4_sees_a_clean_model?planted-ioi? PASSED*",
            "*test_5_fails_and_leaves_a_hook?planted-ioi? FAILED*",
            "*test_6_sees_a_clean_model?planted-ioi? PASSED*",
            "*test_7_weights_in_a_context_are_restored?planted-ioi? PASSED*",
        ]
    )
    result.stdout.fnmatch_lines(["*the claim left 1 hook attached on planted-ioi; the model was loaded anew*"])
    result.stdout.fnmatch_lines(["*the claim left changed weights on planted-ioi; the model was loaded anew*"])
    assert "ClaimFailed: refuted" in result.stdout.str()


HELD = """
import pytest
from pytest_interp import assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

@pytest.fixture(scope="session")
def held(checkpoint):
    return checkpoint.bridge.blocks[3].attn.o.weight

def test_1_has_it_in_hand(ioi, held):
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_2_changes_it_without_asking_for_the_model(ioi, held):
    held.data.zero_()
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_3_sees_a_clean_model(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))
"""


def test_a_fixture_of_any_scope_may_have_the_weights_in_hand(claims_project):
    claims_project.makepyfile(test_it=HELD)
    result = claims_project.runpytest("--interp-prompts", "24", "-p", "no:syrupy")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*test_2*", "*the claim left changed weights on planted-ioi*"])


def claim(name, body, asks="checkpoint, ioi"):
    return f"def test_{name}({asks}):\n" + "".join(f"    {line}\n" for line in body)


LEFT = {
    "a function": (
        ["import torch.nn.functional as F", "F.softmax = lambda x, dim=-1, **_: x * 0"],
        "torch.nn.functional.softmax replaced on planted-ioi; all was put back",
    ),
    "the default dtype": (
        ["import torch", "torch.set_default_dtype(torch.float64)"],
        "the default dtype at torch.float64 (it was torch.float32) on planted-ioi; all was put back",
    ),
    "a global hook": (
        ["import torch", "torch.nn.modules.module.register_module_forward_hook(lambda *_: None)"],
        "hooks on every module (torch's global ones) on planted-ioi; all was put back",
    ),
    "grad mode": (
        ["import torch", "torch.set_grad_enabled(False)"],
        "gradients at False (it was True) on planted-ioi; all was put back",
    ),
    "the tokenizer": (
        ["checkpoint.tokenizer.bos_token = '<unk>'"],
        "a changed tokenizer on planted-ioi; the model was loaded anew",
    ),
    "a buffer": (
        ["next(iter(checkpoint.bridge.buffers())).logical_not_()"],
        "changed buffers on planted-ioi; the model was loaded anew",
    ),
}


@pytest.mark.parametrize("what", LEFT)
def test_whatever_else_a_claim_leaves_is_named_and_put_back(claims_project, what):
    body, said = LEFT[what]
    ordinary = "assert_logit_diff(ioi, near=(8.854, 0.01))"
    claims_project.makepyfile(
        HEAD + claim("1", [ordinary]) + claim("2_changes", [ordinary, *body]) + claim("3", [ordinary])
    )
    result = claims_project.runpytest("--tb=short", "-p", "no:syrupy")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines([f"*the claim left {said.replace('[', '[[]')}*"])


def test_what_monkeypatch_undoes_is_not_left_behind(claims_project):
    body = ["import torch.nn.functional as F", "monkeypatch.setattr(F, 'softmax', lambda x, dim=-1, **_: x * 0)"]
    changed = [*body, "assert_logit_diff(ioi, at_most=8)"]
    claims_project.makepyfile(
        HEAD
        + claim("1", ["assert_logit_diff(ioi, near=(8.854, 0.01))"])
        + claim("2", changed, asks="ioi, monkeypatch")
        + claim("3", ["assert_logit_diff(ioi, near=(8.854, 0.01))"])
        + claim("4", ["ioi.checkpoint.bridge.train()", *changed], asks="ioi, monkeypatch")
    )
    result = claims_project.runpytest("-p", "no:syrupy")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*after its fixtures, the claim left the model in train mode on planted-ioi*"])


BETWEEN = """
import test_it

def pytest_runtest_logfinish(nodeid):
    if "test_1" in nodeid:
        test_it.held[0].bridge.blocks[3].attn.o.weight.data.zero_()
"""

OWN_FIXTURE = """
held = []

@pytest.fixture
def own():
    yield

def test_1(checkpoint, ioi):
    held.append(checkpoint)
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_2(ioi, own):
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_3(ioi, own):
    assert_logit_diff(ioi, near=(8.854, 0.01))
"""


def test_what_changed_between_two_claims_is_not_taken_for_the_work_of_a_claims_fixtures(claims_project):
    claims_project.makepyfile(test_it=HEAD + OWN_FIXTURE)
    claims_project.makeconftest(BETWEEN)
    result = claims_project.runpytest("-p", "no:syrupy")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*something before it left changed weights on planted-ioi; the model was loaded*"])


UNDONE = """
def test_1_under_a_change_that_it_undoes(checkpoint, ioi):
    weight = checkpoint.bridge.blocks[3].attn.o.weight
    saved = weight.data.clone()
    weight.data.zero_()
    assert_logit_diff(ioi, at_most=6)
    weight.data.copy_(saved)

def test_2_sees_the_model_as_it_was(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))
"""


@pytest.mark.parametrize("cached", [(), ("--interp-cache", "kept")], ids=["in memory", "on disk"])
def test_a_change_that_a_claim_undoes_is_not_the_next_claims(claims_project, cached):
    claims_project.makepyfile(HEAD + UNDONE)
    for _ in range(2 if cached else 1):
        claims_project.runpytest("-p", "no:syrupy", *cached).assert_outcomes(passed=2)
    if cached:
        result = claims_project.runpytest("-p", "no:syrupy", *cached, "-k", "test_2")
        result.stdout.fnmatch_lines(["interp: cache *: [1-9]* measurements read from disk, 0 measured and kept"])


FIXTURES_THAT_UNDO = """
from contextlib import ExitStack
from unittest import mock
import torch.nn.functional as F

@pytest.fixture
def stack():
    with ExitStack() as entered:
        yield entered

def flat(x, dim=-1, **_):
    return x * 0

def test_1(ioi, stack):
    stack.enter_context(mock.patch.object(F, "softmax", flat))
    assert_logit_diff(ioi, at_most=8)

def test_2(ioi, request):
    patch = mock.patch.object(F, "softmax", flat)
    patch.start()
    request.addfinalizer(patch.stop)
    assert_logit_diff(ioi, at_most=8)

class TestThree:
    def setup_method(self):
        self.patch = mock.patch.object(F, "softmax", flat)
        self.patch.start()

    def teardown_method(self):
        self.patch.stop()

    def test_3(self, ioi):
        assert_logit_diff(ioi, at_most=8)

def test_4(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))
"""


def test_what_fixtures_and_methods_undo_is_not_left_behind(claims_project):
    claims_project.makepyfile(HEAD + FIXTURES_THAT_UNDO)
    claims_project.runpytest("-p", "no:syrupy").assert_outcomes(passed=4)


RAISING = """
@pytest.fixture
def raising(checkpoint):
    yield
    checkpoint.bridge.blocks[3].attn.o.weight.data.zero_()
    raise RuntimeError("in teardown")

def test_1(ioi, raising):
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_2(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))
"""


def test_a_teardown_that_raises_is_looked_after_too(claims_project):
    claims_project.makepyfile(HEAD + RAISING)
    result = claims_project.runpytest("-p", "no:syrupy")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*in teardown*", "*after its fixtures, the claim left changed weights*"])


SECOND = """
from pytest_interp import Checkpoint, Experiment
from pytest_interp.checkpoints import known_specs

@pytest.fixture(scope="session")
def second():
    return Checkpoint(known_specs()["planted-ioi"])

def test_1(ioi, second):
    assert_logit_diff(Experiment(second, ioi.data), near=(8.854, 0.01))
    second.bridge.blocks[3].attn.o.weight.data.zero_()

def test_2(ioi, second):
    assert_logit_diff(Experiment(second, ioi.data), near=(8.854, 0.01))
"""


def test_a_checkpoint_of_ones_own_fixture_is_guarded_too(claims_project):
    claims_project.makepyfile(HEAD + SECOND)
    claims_project.runpytest("-p", "no:syrupy").assert_outcomes(passed=1, failed=1)


SAME_MODEL = """
from pytest_interp import CheckpointSpec
from pytest_interp.checkpoints.planted.rules import RULES
from pytest_interp.checkpoints.planted.build import build_planted
from pathlib import Path
import tempfile

MADE = []

def load():
    if not MADE:
        MADE.append(build_planted(RULES, Path(tempfile.mkdtemp())))
    return MADE[0]

def pytest_interp_checkpoints(config):
    return [CheckpointSpec("mine", loader=load, bos=True)]
"""


def test_a_model_that_cannot_be_loaded_anew_is_said_once_and_asked_nothing(claims_project):
    ordinary = ["assert_logit_diff(ioi, at_least=1)"]
    leaving = [*ordinary, "checkpoint.bridge.blocks[3].attn.o.weight.data.zero_()"]
    claims_project.makeconftest(SAME_MODEL)
    claims_project.makepyfile(HEAD + claim("1", leaving) + claim("2", ordinary))
    result = claims_project.runpytest("-p", "no:syrupy", "--interp-model", "mine")
    result.stdout.fnmatch_lines(
        ["*the claim left changed weights on mine; it cannot be loaded anew: mine was loaded with other weights*"]
    )
    result.stdout.fnmatch_lines(["*mine could not be loaded anew after it had been changed; nothing is asked of it*"])
    result.assert_outcomes(failed=2)


def test_a_claim_sets_no_circuit_for_the_next(claims_project):
    claims_project.makepyfile(
        HEAD
        + claim("1", ["checkpoint.claimed(None, bos=False)", "assert_logit_diff(ioi, at_least=1)"])
        + claim("2", ["assert checkpoint.bos and checkpoint.circuit", "assert_logit_diff(ioi, at_least=1)"])
    )
    claims_project.runpytest("-p", "no:syrupy").assert_outcomes(passed=2)
