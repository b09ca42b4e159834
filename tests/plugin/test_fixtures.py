"""The fixtures that a claim may ask for, on the planted model."""

import shutil

CLAIMS = """
import pytest
from pytest_interp import assert_attention, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper", role="name_mover")

def test_halves(ioi, ioi_find, names, interp_seed):
    assert interp_seed == 7
    assert (ioi.data.name, ioi_find.data.name) == ("ioi/confirm", "ioi/find")
    templates = [{p.template for p in half.data.clean.prompts} for half in (ioi, ioi_find)]
    assert not templates[0] & templates[1]
    assert {p.tags["S"] for p in ioi.data.clean.prompts} <= set(names)
    assert not {p.tags["S"] for p in ioi_find.data.clean.prompts} & set(names)
    assert_logit_diff(ioi, at_least=2)

def test_bos(ioi, make_ioi):
    assert ioi.data.clean.bos is {bos}
    assert make_ioi(bos=False).data.clean.bos is False
    assert_logit_diff(ioi, at_least=-99)

def test_activations(ioi, checkpoint):
    hook = checkpoint.sites.hook("z", 3)
    z = ioi.activation(hook)
    assert [len(t) for t in z] == [len(g.rows) for g in ioi.data.clean.groups]
    kept = {key[1] for key in checkpoint.memo if key[0] == ioi.data.clean.inputs and str(key[1]).startswith("blocks")}
    # Of one site, since all layers are small, and what the first pass brought along.
    assert kept == {checkpoint.sites.hook(site, layer) for site in ("z", "pattern") for layer in range(5)}
    assert ioi.activation(hook)[0].equal(z[0])
    assert not ioi.activation(hook, "abc")[0].equal(z[0])
    assert_attention(ioi, "3.0", at="END", to="IO", at_least=0.5)

def test_top_heads(ioi, top_heads):
    assert [str(head) for head in top_heads] == ["3.0", "3.1", "3.2"]
    assert_logit_diff(ioi, at_least=-99)

def test_pairs(make_ioi_pairs):
    one = make_ioi_pairs(("John", "Robert"))
    assert {p.answer for p in one.data.clean.prompts} == {" John"}
    assert_logit_diff(one, at_least=2)

def test_bounds(circuit, bound, ioi):
    assert_logit_diff(ioi, at_least=-99)
    assert circuit.checkpoint == "planted-ioi"
    assert bound("head_patch_effect", at_least=0.9) == {"at_least": 0.3}
    assert bound("attention", at_least=0.9) == {"at_least": 0.9}
"""


def test_fixtures(claims_project):
    claims_project.makepyfile(test_it=CLAIMS.replace("{bos}", "True"))
    result = claims_project.runpytest("--interp-seed", "7", "--interp-prompts", "48")
    result.assert_outcomes(passed=6)


def test_bos_is_the_users_then_the_circuits_then_the_checkpoints(claims_project):
    claims_project.makeconftest(
        """
        from pytest_interp import CheckpointSpec

        def pytest_interp_checkpoints(config):
            return [CheckpointSpec("twin", kind="planted", source="planted-ioi", bos=False, circuit="planted-ioi")]
        """
    )
    claims_project.makepyfile(test_it=CLAIMS.replace("{bos}", "True"))
    claims_project.runpytest("-k", "bos and twin").assert_outcomes(passed=1)
    claims_project.makepyfile(test_it=CLAIMS.replace("{bos}", "False"))
    claims_project.runpytest("-k", "bos and twin", "--interp-bos", "no").assert_outcomes(passed=1)
    refused = claims_project.runpytest("--interp-bos", "maybe")
    refused.stderr.fnmatch_lines(["*--interp-bos is 'maybe'; allowed: yes, no*"])


def test_an_ordinary_test_may_use_the_assertions_without_a_checkpoint(claims_project):
    claims_project.makepyfile(
        """
        from pytest_interp import assert_measurement, judge

        def test_it():
            verdict = assert_measurement([1.0, 1.1, 0.9], unit="x", population="fixed", near=(1, 0.1))
            assert verdict.outcome == "supported"
        """
    )
    claims_project.runpytest().assert_outcomes(passed=1)


def test_a_claim_about_ones_own_numbers_needs_no_checkpoint(claims_project):
    claims_project.makepyfile(
        """
        import pytest
        from pytest_interp import assert_measurement

        @pytest.mark.claim(source="my probe")
        def test_it():
            assert_measurement([1.0, 1.1, 0.9], unit="x", population="fixed", near=(1, 0.1))
        """
    )
    result = claims_project.runpytest("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["no checkpoint: 1 supported", "*measurement 1.000, within 0.1 of 1"])


def test_a_model_that_cannot_be_loaded_is_loaded_once_and_each_claim_says_the_same(claims_project):
    claims_project.makeconftest(
        """
        from pytest_interp import CheckpointSpec

        def load():
            print("LOADED")
            return {}

        def pytest_interp_checkpoints(config):
            return [CheckpointSpec("odd", loader=load, bos=True, circuit="planted-ioi")]
        """
    )
    claims_project.makepyfile(test_it=CLAIMS.replace("{bos}", "True"))
    # With a circuit file of their own, other claims ask for it as another target.
    shutil.copytree(claims_project.path / "circuits", claims_project.path / "other" / "circuits")
    shutil.copy(claims_project.path / "test_it.py", claims_project.path / "other" / "test_other.py")
    result = claims_project.runpytest("--interp-model", "odd", "-s")
    result.assert_outcomes(errors=12)
    text = result.stdout.str()
    assert text.count("LOADED") == 1
    # At the start of a line: pytest's short summary says it a second time, and in full where CI is set.
    assert text.count("\nthe loader of odd returned dict; return a TransformerBridge, or") == 12
