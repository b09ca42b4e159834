"""A claim that leaves hooks or changed weights behind fails, and the next one finds the model as it was."""

CLAIMS = """
import pytest
from pytest_interp import assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

def test_1_leaves_a_hook(checkpoint, ioi):
    checkpoint._bridge.add_hook("blocks.3.attn.hook_z", lambda value, hook: value * 0)

def test_2_sees_a_clean_model(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_3_changes_weights(checkpoint, ioi):
    checkpoint._bridge.blocks[3].attn.o.weight.data.zero_()
    assert_logit_diff(ioi, near=(8.854, 9))

def test_4_sees_a_clean_model(ioi):
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_5_fails_and_leaves_a_hook(checkpoint, ioi):
    checkpoint._bridge.add_hook("blocks.3.attn.hook_z", lambda value, hook: value)
    assert_logit_diff(ioi, at_least=99)

def test_6_sees_a_clean_model(checkpoint, ioi):
    assert checkpoint.disturbed() == []
    assert_logit_diff(ioi, near=(8.854, 0.01))

def test_7_weights_in_a_context_are_restored(checkpoint, ioi):
    with checkpoint.weights(3, "o") as weight:
        weight.zero_()
        assert_logit_diff(ioi, at_most=6)
"""


FIXTURES = """
import pytest
from pytest_interp import assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

@pytest.fixture
def knocked_out(checkpoint):
    with checkpoint.weights(3, "o") as weight:
        weight.zero_()
        yield

@pytest.fixture
def leaky(checkpoint):
    yield
    checkpoint._bridge.add_hook("blocks.3.attn.hook_z", lambda value, hook: value * 0)

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
    return checkpoint.w_o(3)

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
