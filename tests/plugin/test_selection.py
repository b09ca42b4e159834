"""Which claims are collected on which checkpoints, with which ids, and what is said about the rest."""

import pytest

from pytest_interp.plugin.options import read_options

CLAIM = """
import pytest
from pytest_interp import assert_copy_score, assert_head_patch_effect, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper", role="name_mover")

def test_copies(checkpoint, head, names):
    assert_copy_score(checkpoint, head, names=names, at_least=0.8)

def test_together(ioi, heads):
    assert_head_patch_effect(ioi, heads, at="END", at_least=0.3)

def test_task(ioi):
    assert_logit_diff(ioi, at_least=2)
"""


def test_a_role_claim_runs_once_for_each_head(claims_project):
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest("-v")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        [
            "interp: planted-ioi (5 claims)",
            "interp: float32 on cpu, seed 0, 96 prompts",
            "interp: transformer-lens *",
            "*test_copies?planted-ioi-3.0? PASSED*",
            "*test_copies?planted-ioi-3.1? PASSED*",
            "*test_copies?planted-ioi-3.2? PASSED*",
            "*test_together?planted-ioi? PASSED*",
            "*test_task?planted-ioi? PASSED*",
            "planted-ioi: 5 supported, 5 new number",
        ]
    )


def test_a_claim_that_asserts_nothing_or_swallows_its_verdict_fails(claims_project):
    claims_project.makepyfile(
        """
        import pytest
        from pytest_interp import ClaimFailed, assert_logit_diff

        pytestmark = pytest.mark.claim(source="a paper")

        def test_nothing(ioi):
            assert len(ioi.data.clean) == 96

        def test_swallowed(ioi):
            with pytest.raises(ClaimFailed):
                assert_logit_diff(ioi, at_least=99)
        """
    )
    result = claims_project.runpytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["the claim asserted nothing; call one of the assert_ functions*"])
    result.stdout.fnmatch_lines(["the claim passed, but its verdict on logit difference on * is refuted"])
    result.stdout.fnmatch_lines(["planted-ioi: 1 refuted, 1 error"])


def test_a_claim_in_a_testcase_is_refused_and_in_a_plain_class_runs(claims_project):
    code = """
        import unittest
        import pytest
        from pytest_interp import assert_logit_diff

        @pytest.mark.claim(source="a paper")
        class TestIt(BASE):
            def test_task(self, ioi):
                assert_logit_diff(ioi, at_least=2)
        """
    claims_project.makepyfile(test_it=code.replace("BASE", "object"))
    claims_project.runpytest().assert_outcomes(passed=1)
    claims_project.makepyfile(test_it=code.replace("BASE", "unittest.TestCase"))
    result = claims_project.runpytest()
    assert result.ret != 0
    said = result.stdout.str() + result.stderr.str()
    assert "a claim is a function or method of a plain class, not a TestCase" in said


def test_a_claim_without_any_checkpoint_is_not_checked_and_said(pytester):
    pytester.makepyfile(test_it=CLAIM)
    result = pytester.runpytest("-k", "task")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["no checkpoint: 1 not checked: name one with --interp-model, or write a circuit*"])
    pytester.runpytest("-k", "task", "--interp-model", "planted-ioi").assert_outcomes(passed=1)


def test_a_claim_may_name_a_checkpoint_that_has_no_circuit_file(pytester):
    code = CLAIM.replace('role="name_mover"', 'checkpoints="NAME"').replace("def test_copies", "def copies")
    pytester.makepyfile(test_it=code.replace("def test_together", "def together").replace("NAME", "planted-ioi"))
    pytester.runpytest().assert_outcomes(passed=1)
    pytester.makepyfile(test_it=code.replace("def test_together", "def together").replace("NAME", "planted"))
    result = pytester.runpytest()
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*'planted' is not a registered checkpoint; nearest: planted-ioi*"])


def test_a_claim_may_name_its_own_heads(claims_project):
    claims_project.makepyfile(
        """
        import pytest
        from pytest_interp import assert_attention

        @pytest.mark.claim(source="a paper")
        @pytest.mark.parametrize("head", ["3.0", "3.1"])
        def test_it(ioi, head):
            assert_attention(ioi, head, at="END", to="IO", at_least=0.9)
        """
    )
    claims_project.runpytest().assert_outcomes(passed=2)


def test_a_claim_that_fails_in_a_fixture_is_in_the_table(claims_project):
    claims_project.makepyfile(
        """
        import pytest
        from pytest_interp import NotApplicable, assert_logit_diff

        pytestmark = pytest.mark.claim(source="a paper")

        @pytest.fixture
        def broken(ioi):
            raise RuntimeError("no such probe")

        @pytest.fixture
        def impossible(ioi):
            raise NotApplicable("no such site")

        def test_a(ioi, broken):
            assert_logit_diff(ioi, at_least=2)

        def test_b(ioi, impossible):
            assert_logit_diff(ioi, at_least=2)
        """
    )
    result = claims_project.runpytest()
    result.assert_outcomes(errors=1, skipped=1)
    result.stdout.fnmatch_lines(["planted-ioi: 1 not applicable, 1 error", "  error            test_a", "*in setup*"])


def test_a_revision_needs_a_model_and_a_hook_returns_a_list(claims_project):
    claims_project.makepyfile(test_it=CLAIM)
    alone = claims_project.runpytest("--interp-revision", "step1")
    alone.stderr.fnmatch_lines(["*--interp-revision needs --interp-model*"])
    claims_project.makeconftest("def pytest_interp_checkpoints(config): return 'mine'")
    wrong = claims_project.runpytest()
    wrong.stderr.fnmatch_lines(["*pytest_interp_checkpoints returned 'mine'; return a list of CheckpointSpec*"])


def test_strict_holds_for_the_default_selection_too(claims_project, monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    text = (claims_project.path / "circuits" / "planted-ioi.toml").read_text()
    (claims_project.path / "circuits" / "gpt2.toml").write_text(text.replace('"planted-ioi"', '"gpt2"'))
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest("--interp-strict", "-k", "task")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*gpt2: its weights are not in the Hugging Face cache*"])


def test_without_syrupy_claims_run_and_nothing_is_compared(claims_project):
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest_subprocess("-p", "no:syrupy", "-k", "task")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["planted-ioi: 1 supported"])


def test_weights_that_are_not_here_are_not_checked_and_said(claims_project, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    text = (claims_project.path / "circuits" / "planted-ioi.toml").read_text()
    (claims_project.path / "circuits" / "gpt2.toml").write_text(text.replace('"planted-ioi"', '"gpt2"'))
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest()
    result.assert_outcomes(passed=5, deselected=5)
    result.stdout.fnmatch_lines(
        [
            "gpt2: 5 not checked: its weights are not in the Hugging Face cache; `pytest",
            "  --interp-model gpt2` fetches them",
        ]
    )
    assert "gpt2: 5 supported" not in result.stdout.str()


def test_what_is_not_selected_is_collected_and_said_where_asked(claims_project):
    text = (claims_project.path / "circuits" / "planted-ioi.toml").read_text()
    (claims_project.path / "circuits" / "gpt2.toml").write_text(text.replace('"planted-ioi"', '"gpt2"'))
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest("--interp-model", "planted-ioi", "-rs")
    result.assert_outcomes(passed=5, skipped=5)
    result.stdout.fnmatch_lines(["SKIPPED*not selected by --interp-model"])


def test_a_checkpoint_brought_in_by_the_project(claims_project):
    claims_project.makeconftest(
        """
        import tempfile
        from pathlib import Path
        from pytest_interp import CheckpointSpec

        def load():
            from pytest_interp.checkpoints.planted.rules import RULES
            from pytest_interp.checkpoints.planted.build import build_planted
            with tempfile.TemporaryDirectory() as directory:
                return build_planted(RULES, Path(directory))

        def pytest_interp_checkpoints(config):
            return [CheckpointSpec("my-bridge", loader=load, bos=True, circuit="planted-ioi")]
        """
    )
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest("-v", "--interp-model", "my-bridge")
    result.assert_outcomes(passed=5, deselected=5)
    result.stdout.fnmatch_lines(["*test_copies?my-bridge-3.0? PASSED*", "my-bridge: 5 supported*"])


def test_without_a_circuit_only_claims_without_heads_run(claims_project):
    claims_project.makeconftest(
        """
        from pytest_interp import CheckpointSpec

        def pytest_interp_checkpoints(config):
            return [CheckpointSpec("bare", kind="planted", source="planted-ioi", bos=True)]
        """
    )
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest("--interp-model", "bare", "-rs", "-k", "bare")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "*not applicable   2 claims",
            "*bare has no circuit file: `pytest-interp discover` proposes*",
            "SKIPPED*bare has*",
        ]
    )
    named = claims_project.runpytest("--interp-model", "bare", "--interp-circuit", "planted-ioi", "-k", "bare")
    named.assert_outcomes(passed=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--interp-model", "gtp2"], "*unknown checkpoint 'gtp2': *nearest: gpt2*"),
        (["--interp-circuit", "gtp2"], "*there is no circuit file for 'gtp2'; there are planted-ioi*"),
        (
            ["--interp-model", "planted-ioi", "--interp-model", "planted-ioi"],
            "*two checkpoints are named 'planted-ioi'*",
        ),
        (["--interp-dtype", "float8"], "*--interp-dtype is 'float8'; allowed: float64, float32, bfloat16, float16*"),
        (["--interp-prompts", "1"], "*--interp-prompts is 1; pass at least 2*"),
        (["--interp-model", "planted-ioi", "--interp-revision", "x"], "*--interp-revision is for models of the hub*"),
    ],
)
def test_bad_options_get_a_sentence(claims_project, arguments, message):
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest(*arguments)
    assert result.ret != 0
    result.stderr.fnmatch_lines([message])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sum("ERROR" in line for line in [*result.outlines, *result.errlines]) == 1
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("claim", "*claim marker needs its source*"),
        ("claim('a paper')", "*claim marker takes keywords only*got ('a paper',)*"),
        ("claim(source='a', rôle='x')", "*claim marker has no keyword 'rôle'*nearest: role*"),
        ("claim(source='a')", "*asks for head(s), but its claim marker names no role*"),
        ("claim(source='a', role='name_mover', evidence='E')", "*evidence is 'E'; allowed: 'A', 'B', 'C', 'D'*"),
    ],
)
def test_bad_markers_get_a_sentence(claims_project, marker, message):
    claims_project.makepyfile(test_it=f"import pytest\n@pytest.mark.{marker}\ndef test_it(checkpoint, head): pass\n")
    result = claims_project.runpytest()
    assert result.ret != 0
    result.stderr.fnmatch_lines([message])


UNKNOWN_ROLE = """
import pytest
from pytest_interp import assert_logit_diff

@pytest.mark.claim(source="a paper", role="ROLE")
def test_head(ioi, head):
    assert_logit_diff(ioi, at_least=2)

@pytest.mark.claim(source="a paper", role="ROLE")
def test_heads(ioi, heads):
    assert_logit_diff(ioi, at_least=2)

@pytest.mark.claim(source="a paper", role="ROLE")
def test_bound(ioi, bound):
    assert_logit_diff(ioi, **bound("logit_diff", at_least=2))

@pytest.mark.claim(source="a paper")
def test_body(ioi, circuit):
    assert circuit.role("ROLE").heads
    assert_logit_diff(ioi, at_least=2)

@pytest.mark.claim(source="a paper", role="name_mover")
def test_another(ioi, head):
    assert_logit_diff(ioi, at_least=2)
"""


@pytest.mark.parametrize(
    ("role", "close"), [("name_movers", "name_mover"), ("random_tokens.inductoin", "random_tokens.induction")]
)
def test_a_role_that_no_circuit_has_is_not_applicable_and_named(claims_project, role, close):
    claims_project.makepyfile(test_it=UNKNOWN_ROLE.replace("ROLE", role))
    result = claims_project.runpytest("-rs", "-v")
    result.assert_outcomes(passed=3, skipped=4)
    sentence = f"SKIPPED*not applicable: the circuit of planted-ioi has no role '{role}'; it has name_mover, *"
    lines = [line for line in result.outlines if line.startswith("SKIPPED")]
    assert sum(int(line.partition("[")[2].partition("]")[0]) for line in lines) == 4
    for line in lines:
        assert f"no role '{role}'; it has name_mover, " in line
        assert f"; nearest: {close}" in line
    result.stdout.fnmatch_lines(["planted-ioi: 3 supported, 4 not applicable*", sentence])


def test_a_claim_may_ask_for_a_role_on_random_tokens(claims_project):
    claims_project.makepyfile(
        """
        import pytest
        from pytest_interp import assert_detector_score

        @pytest.mark.claim(source="a paper", role="random_tokens.induction")
        def test_it(repeated_tokens, head, circuit, bound):
            assert circuit.role("random_tokens.induction").heads == (head,)
            assert bound("induction_score", at_least=0.5) == {"at_least": 0.8}
            assert_detector_score(repeated_tokens, head, "induction", at_least=0.5)
        """
    )
    path = claims_project.path / "circuits" / "planted-ioi.toml"
    bounds = "bounds.induction_score.default = { at_least = 0.8 }"
    path.write_text(path.read_text().replace("[random_tokens.induction]", f"[random_tokens.induction]\n{bounds}"))
    result = claims_project.runpytest("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_it?planted-ioi-1.0? PASSED*"])


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("test_it.py::test_task", ""),
        ("test_task", ""),
        ("test_it.py::test_tsk", "expected_failures.claim is 'test_it.py::test_tsk', which no file in * has; write "),
        ("test_tsk", "*nearest: *test_task"),
        ("test_other.py::test_task", "*nearest: test_it.py::test_task*"),
        ("test_elsewhere", "*which no file in * has*"),
    ],
)
def test_a_claim_that_is_expected_to_fail_exists(claims_project, claim, message):
    path = claims_project.path / "circuits" / "planted-ioi.toml"
    path.write_text(f"{path.read_text()}\n[[expected_failures]]\nclaim = '{claim}'\nreason = 'measured'\n")
    (claims_project.path / "deeper").mkdir()
    (claims_project.path / "deeper" / "test_deeper.py").write_text("def test_deeper(): pass")
    # Files of an environment and of folders that pytest passes over are no claims.
    for folder in ("env", "node_modules"):
        (claims_project.path / folder).mkdir()
        (claims_project.path / folder / "test_elsewhere.py").write_text("def test_elsewhere(): pass")
    (claims_project.path / "env" / "pyvenv.cfg").write_text("")
    claims_project.makepyfile(test_it=CLAIM.replace("at_least=2", "at_least=99"))
    result = claims_project.runpytest("-k", "task")
    if message:
        assert result.ret != 0
        result.stderr.fnmatch_lines([f"*planted-ioi.toml: *{message}*"])
    else:
        result.assert_outcomes(xfailed=1)
    claims_project.makeini("[pytest]\ninterp_circuits = circuits\n")
    elsewhere = claims_project.runpytest("-k", "task")
    elsewhere.assert_outcomes(**({"failed": 1} if message else {"xfailed": 1}))


def test_a_typo_in_a_circuit_file_names_file_and_key(claims_project):
    path = claims_project.path / "circuits" / "planted-ioi.toml"
    path.write_text(path.read_text().replace("reads =", "read =", 1))
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest()
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*planted-ioi.toml: roles.name_mover has the unknown key 'read'*nearest: reads*"])


def test_a_circuit_with_a_head_outside_the_model(claims_project):
    path = claims_project.path / "circuits" / "planted-ioi.toml"
    path.write_text(path.read_text().replace('"3.2"]', '"7.2"]', 1))
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest()
    result.stdout.fnmatch_lines(["*planted-ioi has no head 7.2: its layers are 0 to 4, the heads of each 0 to 3*"])


def test_ini_twins(claims_project):
    claims_project.makeini("[pytest]\ninterp_model = planted-ioi\ninterp_prompts = 24\ninterp_seed = 3\n")
    claims_project.makepyfile(test_it=CLAIM)
    result = claims_project.runpytest("-k", "task")
    result.stdout.fnmatch_lines(["interp: float32 on cpu, seed 3, 24 prompts"])
    over = claims_project.runpytest("-k", "task", "--interp-prompts", "48")
    over.stdout.fnmatch_lines(["interp: float32 on cpu, seed 3, 48 prompts"])


@pytest.mark.parametrize(
    ("arguments", "ini", "value"),
    [
        ([], "", None),
        (["--interp-falsify"], "", "first"),
        (["--interp-falsify=first"], "all", "first"),
        (["--interp-falsify=all"], "", "all"),
        ([], "all", "all"),
    ],
)
def test_a_path_after_the_flag_to_falsify_stays_a_path(pytester, arguments, ini, value):
    pytester.makeini(f"[pytest]\ninterp_falsify = {ini}\n")
    path = str(pytester.makepyfile(test_it="def test_it(): pass"))
    config = pytester.parseconfig(*arguments, path)
    assert read_options(config).falsify == value
    assert config.args == [path]


def test_what_is_no_value_of_falsify_is_refused(pytester):
    pytester.makepyfile(test_it="def test_it(): pass")
    for arguments in (["--interp-falsify=some"], ["-o", "interp_falsify=some"]):
        result = pytester.runpytest(*arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*--interp-falsify*some*"])


def test_strict_makes_missing_weights_an_error(claims_project, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    claims_project.makepyfile(test_it=CLAIM)
    lax = claims_project.runpytest("--interp-model", "someone/model", "-k", "task and someone")
    lax.assert_outcomes(skipped=1)
    lax.stdout.fnmatch_lines(["someone--model: 1 not checked: the hub did not give someone/model (no network)*"])
    strict = claims_project.runpytest("--interp-model", "someone/model", "--interp-strict", "-k", "task and someone")
    strict.assert_outcomes(errors=1)
    strict.stdout.fnmatch_lines(["*the hub did not give someone/model (no network)*"])


def test_silent_where_there_are_no_claims(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest("-v")
    result.assert_outcomes(passed=1)
    assert "interp:" not in result.stdout.str()
    assert "findings" not in result.stdout.str()


def test_help_markers_and_fixtures_read_like_a_manual(pytester):
    shown = pytester.runpytest("--help").stdout.str()
    assert "findings about language models (pytest-interp)" in shown
    assert "--interp-model=MODEL" in shown
    assert "interp_circuits (linelist)" in shown
    fixtures = pytester.runpytest("--fixtures").stdout.str()
    for name in ("checkpoint", "ioi", "ioi_find", "make_ioi", "p8", "names", "head", "heads", "circuit", "bound"):
        assert f"\n{name} " in fixtures, name
    assert "The checkpoint on IOI prompts of the confirming half" in fixtures
    pytester.runpytest("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.claim(source, role=None, checkpoints=(), evidence=None, finding=(), quick=False)*"]
    )


def test_head_and_checkpoint_outside_of_a_claim(pytester):
    pytester.makepyfile("def test_a(checkpoint): pass\ndef test_b(head): pass\n")
    result = pytester.runpytest()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*the fixture `checkpoint` is for claims: mark the test with*"])


def test_the_plugin_can_be_switched_off(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_subprocess("-p", "no:pytest_interp", "--help")
    assert "--interp-model" not in result.stdout.str()


def test_workers_give_the_same_table(claims_project):
    claims_project.makepyfile(test_it=CLAIM)
    plain = claims_project.runpytest("-p", "no:randomly")
    spread = claims_project.runpytest_subprocess("-n2", "--dist=loadfile")
    spread.assert_outcomes(passed=5)
    line = next(line for line in plain.outlines if line.startswith("planted-ioi:"))
    spread.stdout.fnmatch_lines(["interp: float32 on cpu, seed 0, 96 prompts", line])


def test_native_toml_has_numbers_and_lists(claims_project):
    claims_project.makepyfile(test_it=CLAIM)
    toml = claims_project.path / "pytest.toml"
    toml.write_text('[pytest]\ninterp_prompts = 24\ninterp_model = ["planted-ioi"]\n')
    claims_project.runpytest("--collect-only").stdout.fnmatch_lines(["interp: float32 on auto, seed 0, 24 prompts"])
    for bad in ('interp_prompts = "24"', 'interp_model = "planted-ioi"', "interp_bos = true", 'interp_quick = "yes"'):
        toml.write_text(f"[pytest]\n{bad}\n")
        result = claims_project.runpytest()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            [
                f"ERROR: {bad.partition(' ')[0]} is not a* in the ini file*"
                if "quick" not in bad
                else "ERROR: interp_quick is not true or false*"
            ]
        )


@pytest.mark.parametrize("arguments", [(), ("-n2",)])
def test_what_collection_refuses_is_said_once_for_all_files(claims_project, arguments):
    if arguments:
        pytest.importorskip("xdist")
    claims_project.makepyfile(test_it=CLAIM, test_other=CLAIM)
    result = claims_project.runpytest_subprocess("--interp-model", "gtp2", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [*result.outlines, *result.errlines]
    assert [line.partition(":")[0] for line in lines if "gtp2" in line] == ["ERROR"]
    assert not [line for line in lines if "Traceback" in line or "plugin.py" in line]
