"""Claims in half precision: they end with verdicts, and one that turns only because of precision says so."""

import json

import pytest

HEAD = """
import pytest
from pytest_interp import assert_accuracy, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper, 3.1")
"""
# The planted model prefers the answer by 8.854 in float32; float noise is 0.5 of a logit in bfloat16, 0.05 in float16.
CLAIMS = """
def test_turns(ioi):
    assert_accuracy(ioi, at_least=0.5)
    assert_logit_diff(ioi, at_least={between})

def test_is_false(make_ioi):
    assert_logit_diff(make_ioi(), at_least=12)

def test_is_true(ioi):
    assert_logit_diff(ioi, at_least=2)
"""


def run(project, dtype, body, *arguments):
    project.makepyfile(test_it=HEAD + body)
    return project.runpytest("--interp-prompts", "24", "--interp-dtype", dtype, *arguments)


@pytest.mark.parametrize(
    ("dtype", "between"), [("bfloat16", 8.5), pytest.param("float16", 8.82, marks=pytest.mark.thorough)]
)
def test_a_claim_that_turns_only_because_of_precision_says_so(claims_project, dtype, between):
    body = CLAIMS.format(between=between)
    result = run(claims_project, dtype, body, "--interp-ledger", "records.json")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "E *ClaimFailed: inconclusive",
            f"E * moved by precision (logit_diff 8.8?? [[]8.8??, 8.8??] inconclusive in {dtype}, 8.854 * in float32)",
            "E *ClaimFailed: refuted",
            f"E * not moved by precision: refuted in float32 too (logit_diff 8.8?? * refuted in {dtype}, 8.854 *",
            "planted-ioi: 1 supported, 1 refuted, 1 moved by precision, 1 new number",
            "  moved by precision test_turns",
            "                   moved by precision (logit_diff 8.8*",
        ]
    )
    claims = json.loads((claims_project.path / "records.json").read_text())["claims"]
    assert [claim["finding"] for claim in claims] == ["moved by precision", "refuted", "supported"]
    assert [claim["float32"]["moved"] for claim in claims if "float32" in claim] == [True, False]
    exact = claims[0]["float32"]["records"]
    assert [record["outcome"] for record in exact] == ["supported", "supported"]
    assert {record["about"]["dtype"] for record in exact} == {"float32"}
    assert {record["about"]["dtype"] for claim in claims for record in claim["records"]} == {dtype}
    # The same in float32: nothing is measured again, and the claim holds.
    result = run(claims_project, "float32", body)
    result.assert_outcomes(passed=2, failed=1)
    assert "by precision" not in result.stdout.str()


def test_what_is_measured_again_leaves_nothing_behind(claims_project):
    body = """
def test_turns(checkpoint, ioi):
    print("SEEN", checkpoint.dtype, checkpoint.fingerprint)
    assert_logit_diff(ioi, at_least=8.5)

def test_after(checkpoint, ioi):
    print("SEEN", checkpoint.dtype, checkpoint.fingerprint)
    assert_logit_diff(ioi, between=(8, 9.5))

def test_turns_too(checkpoint, ioi):
    assert_logit_diff(ioi, at_least=8.5)
"""
    claims_project.makeconftest("""
        from pytest import MonkeyPatch
        from pytest_interp.checkpoints.model import LoadedModel
        load = LoadedModel.load
        def told(self):
            load(self)
            print("LOADED", self.dtype)
        def pytest_configure(config):
            # The inner run shares its modules with the run around it.
            patch = MonkeyPatch()
            config.add_cleanup(patch.undo)
            patch.setattr(LoadedModel, "load", told)
    """)
    result = run(claims_project, "bfloat16", body, "-s")
    result.assert_outcomes(passed=1, failed=2)
    seen = [line.split("SEEN ")[1] for line in result.outlines if "SEEN " in line]
    assert [text.split()[0] for text in seen] == ["bfloat16", "float32", "bfloat16"]
    assert seen[0] == seen[2] != seen[1]
    result.stdout.fnmatch_lines(["planted-ioi: 1 supported, 2 moved by precision, 1 new number"])
    loaded = [line.split("LOADED ")[1] for line in result.outlines if "LOADED " in line]
    assert loaded == ["bfloat16", "float32"], "once for both claims"


def test_an_expected_failure_and_a_swallowed_verdict(claims_project):
    body = """
@pytest.mark.xfail(reason="too much", strict=True)
def test_expected(ioi):
    assert_logit_diff(ioi, at_least=8.5)

def test_swallows(ioi):
    try:
        assert_logit_diff(ioi, at_least=8.5)
    except AssertionError:
        pass
"""
    result = run(claims_project, "bfloat16", body)
    result.assert_outcomes(xfailed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "the claim passed, but its verdict on logit difference * is inconclusive; moved by precision (logit_diff *",
            "planted-ioi: 1 moved by precision, 1 expected failure",
        ]
    )


def test_a_bridge_of_the_users_own_is_not_measured_again(claims_project):
    claims_project.makeconftest(
        """
        import tempfile
        from pathlib import Path
        import torch
        from pytest_interp import CheckpointSpec
        from pytest_interp.checkpoints.planted.build import build_planted
        from pytest_interp.checkpoints.planted.rules import RULES

        def load():
            return build_planted(RULES, Path(tempfile.mkdtemp())).to(torch.bfloat16)

        def pytest_interp_checkpoints(config):
            return [CheckpointSpec("mine", loader=load, bos=True)]
        """
    )
    body = "\ndef test_turns(ioi):\n    assert_logit_diff(ioi, at_least=8.5)\n"
    result = run(claims_project, "bfloat16", body, "--interp-model", "mine")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E * not measured again in float32: the loader of mine gives a bridge in bfloat16, which is left as it is",
            "mine: 1 inconclusive",
        ]
    )
