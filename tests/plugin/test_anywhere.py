"""Claims from anywhere: of other packages, of a model in memory, only the quick ones."""

import sys

import pytest
from models import CLAIMS, random_gpt2

from pytest_interp import Checked, UsageError, check

QUICK = """
import pytest
from pytest_interp import assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")


@pytest.mark.claim(quick=True)
def test_quick(ioi):
    assert_logit_diff(ioi, at_least=1)


def test_slow(ioi):
    assert_logit_diff(ioi, at_least=1)
"""


def test_quick_claims_alone(claims_project):
    claims_project.makepyfile(test_it=QUICK)
    result = claims_project.runpytest("--interp-prompts", "24", "--interp-quick", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["planted-ioi: 1 supported*", "*not one of the quick claims (--interp-quick)*"])


def test_the_suite_has_quick_claims_of_several_kinds(pytester):
    result = pytester.runpytest(CLAIMS, "--interp-quick", "--interp-model", "planted-ioi",
                                "--interp-prompts", "24", "-p", "no:cacheprovider", "-q")  # fmt: skip
    assert result.parseoutcomes()["passed"] >= 7
    assert result.parseoutcomes().get("failed", 0) == 0


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Another package that brings claims."""
    folder = tmp_path / "guest_package" / "findings"
    folder.mkdir(parents=True)
    for place in (folder.parent, folder):
        (place / "__init__.py").write_text("")
    (folder / "test_guest.py").write_text(QUICK.replace("test_quick", "test_guest"))
    circuits = folder / "circuits"
    circuits.mkdir()
    text = (CLAIMS / "circuits" / "planted-ioi.toml").read_text()
    (circuits / "planted-ioi.toml").write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith("fingerprint"))
    )
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_claims_of_another_package(package, pytester):
    assert package.is_dir()
    result = pytester.runpytest(
        "--pyargs", "guest_package.findings", "--interp-prompts", "24", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["planted-ioi: 2 supported*"])


# ---- a model in memory


def test_a_model_in_memory_is_judged_and_left_as_it_is(tokenizer):
    import torch

    model = random_gpt2(tokenizer).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = check(model, tokenizer, keyword="test_behaviour", prompts=24, bos=True)
    assert {checked.outcome for checked in seen} <= {"supported", "refuted", "inconclusive", "not applicable"}
    by_claim = {checked.claim: checked for checked in seen}
    checked = by_claim["ioi/behaviour.prefers_the_indirect_object[model]"]
    assert isinstance(checked, Checked)
    assert checked.outcome == "refuted"
    assert checked.statement.startswith("At END the IO name's logit is above")
    assert checked.records[0].quantity == "logit_diff"
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


NAMED = '''
import pytest
from pytest_interp import assert_logit_diff

@pytest.mark.claim(source="{0}")
def test_it(ioi):
    """In folder {0}."""
    assert_logit_diff(ioi, at_least=1)
'''


def test_modules_of_the_same_name_do_not_meet(tokenizer, tmp_path, monkeypatch):
    """Neither with what the training loop has imported, nor with claims of another folder that were asked before."""
    monkeypatch.setitem(sys.modules, "test_behaviour", sys.modules[__name__])
    model = random_gpt2(tokenizer)
    assert check(model, tokenizer, keyword="test_behaviour", prompts=24, bos=True)
    for name in ("one", "other"):
        folder = tmp_path / name / "claims"
        folder.mkdir(parents=True)
        (folder.parent / "pytest.ini").write_text("[pytest]")
        (folder / "test_behaviour.py").write_text(NAMED.format(name))
        before = set(sys.modules)
        (seen,) = check(model, tokenizer, claims=[folder], prompts=24, bos=True)
        assert seen.statement == f"In folder {name}."
        assert not {module for module in set(sys.modules) - before if "test_behaviour" in module}


def test_checking_bad_input_gets_a_sentence(tokenizer):
    model = random_gpt2(tokenizer)
    with pytest.raises(UsageError, match="GPT2LMHeadModel was passed without its tokenizer"):
        check(model)
    with pytest.raises(UsageError, match="not found: nothing"):
        check(model, tokenizer, claims=["nothing"])
    with pytest.raises(UsageError, match="none matches 'no_such_claim'"):
        check(model, tokenizer, keyword="no_such_claim", prompts=24)
