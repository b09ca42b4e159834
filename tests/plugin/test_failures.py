"""What a user reads when a claim fails, word for word; one broken claim for each assertion."""

import pytest

HEAD = """
import pytest
from pytest_interp import *

pytestmark = pytest.mark.claim(source="a paper, section 1")
"""


def failure(project, body, *arguments):
    """The lines of the assertion's text."""
    project.makepyfile(test_it=HEAD + body)
    result = project.runpytest("--interp-prompts", "48", *arguments)
    result.assert_outcomes(failed=1)
    return [line.removeprefix("E       ").rstrip() for line in result.outlines if line.startswith("E  ")], result


BROKEN = {
    "logit_diff": (
        "def test_it(ioi):\n    assert_logit_diff(ioi, at_least=9)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  logit difference on planted-ioi, ioi/confirm",
            "  measured    8.854 logits (48 prompts of 12 templates)",
            "  interval    8.854 to 8.854 (95 %, t over templates",
            "  required    at least 9; off by 0.146",
            "  worst         8.854  ...",
        ],
    ),
    "accuracy": (
        "def test_it(ioi):\n    assert_accuracy(ioi, run='s2-exchanged', at_least=0.9)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  share right on planted-ioi, ioi/confirm",
            "  measured    0.000 share (0 of 48 prompts of 12 templates)",
            "  required    at least 0.9; off by 0.900",
        ],
    ),
    "head_patch_effect": (
        "def test_it(ioi):\n"
        "    assert_head_patch_effect(ioi, '4.0', site='z', at='END', direction='denoise', at_least=0.1)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  patch effect of 4.0 (denoise z at END, s2-exchanged) on",
            "  measured    -0.452 recovered (48 prompts of 12 templates)",
            "  required    at least 0.1; off by 0.552",
            "  controls    4.2 not applicable; 4.3 not applicable",
        ],
    ),
    "copy_score": (
        "def test_it(checkpoint, names):\n    assert_copy_score(checkpoint, '4.0', names=names, at_least=0.8)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  copy score of 4.0 (top 5) on planted-ioi",
            "  measured    0.000 share (0 of 20 names; a fixed population)",
            "  required    at least 0.8; off by 0.800",
            "  worst         0.000  * (rank *)",
            "  controls    4.* not applicable; 4.* not applicable",
            "  note        these 20 names only",
        ],
    ),
    "attention": (
        "def test_it(ioi):\n    assert_attention(ioi, '2.0', at='END', to='IO', minus=('S1', 'S2'))\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  attention of 2.0 from END to IO minus S1, S2 on planted-ioi,",
            "  measured    -1.000 probability (48 prompts of 12 templates)",
            "  required    more than 0; off by 1.000",
            "  siblings    2.1 -1.000",
        ],
    ),
    "attention_entropy": (
        "def test_it(ioi):\n    assert_attention_entropy(ioi, '3.0', at='END', at_least=0.5)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  entropy of the attention of 3.0 from END on planted-ioi, ioi/confirm",
            "  measured    0.035 nats (48 prompts of 12 templates)",
            "  required    at least 0.5; off by 0.465",
        ],
    ),
    "direct_logit_attribution": (
        "def test_it(ioi):\n    assert_direct_logit_attribution(ioi, '3.2', at_least=3.5)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  direct logit attribution of 3.2 on planted-ioi, ioi/confirm",
            "  measured    2.970 logits (48 prompts of 12 templates)",
            "  controls    3.3 0.000",
            "  siblings    3.0 5.941; 3.1 3.960",
        ],
    ),
    "backup_heads": (
        "def test_it(ioi):\n"
        "    assert_backup_heads(ioi, ['4.0'], knocked_out=['3.0', '3.1', '3.2'], ablation='zero', at_least=0.1)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  rise of 4.0 without 3.0, 3.1, 3.2 (zero) on planted-ioi,",
            "  measured    4.000 logits (48 prompts of 12 templates)",
            "  required    at least 0.1; met, but see the note",
            "  one by one  4.0 -4.000 to 0.000 (live 0.000)",
            "  logit diff  8.854 before, 4.988 after, -4.017 if nothing reacted",
            "  note        4.0 lowered the answer before: released, not a backup",
        ],
    ),
    "self_repair": (
        "def test_it(ioi):\n    assert_self_repair(ioi, ['3.0', '3.1', '3.2'], ablation='zero', at_most=0.5)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  self-repair without 3.0, 3.1, 3.2 (zero) on planted-ioi,",
            "  measured    0.700 recovered (48 prompts of 12 templates)",
            "  required    at most 0.5; off by 0.200",
        ],
    ),
    "some_head": (
        "def test_it(ioi, ioi_find, names):\n"
        "    assert_some_head(ioi, found_on=ioi_find, to='S2', minus=('IO',), names=names)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  some head is a name mover (3.0: END to S2) on planted-ioi,",
            "  measured    -0.993 probability (48 prompts of 12 templates)",
            "  found       no head",
            "  confirmed   no head",
        ],
    ),
    "measurement": (
        "def test_it(checkpoint):\n"
        "    assert_measurement([0.1, 0.2, 0.9], unit='share of probes', name='probe', clusters=['a', 'b', 'c'],\n"
        "                       control=[0.3, 0.3], at_least=0.8)\n",
        [
            "pytest_interp.ClaimFailed: inconclusive",
            "  probe",
            "  measured    0.400 share of probes (3 prompts of 3 templates)",
            "  required    at least 0.8; the interval reaches 1.* beyond it",
            "  worst         0.100  value 0",
            "  controls    control 0.300",
            "  note        only 3 templates: with fewer than 8 the interval is rough",
        ],
    ),
    "ablation_effect": (
        "def test_it(ioi):\n    assert_ablation_effect(ioi, ['3.0', '3.1', '3.2'], ablation='zero', at_most=-5)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  zero ablation of 3.0, 3.1, 3.2 at END on planted-ioi, ioi/confirm",
            "  measured    -3.867 logits (48 prompts of 12 templates)",
            "  required    at most -5; off by 1.133",
        ],
    ),
    "attention_write_correlation": (
        "def test_it(ioi):\n    assert_attention_write_correlation(ioi, '4.0', at_least=0.5)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  correlation of attention and write of 4.0 on planted-ioi, ioi/confirm",
            "  measured    -1.000 correlation (48 prompts of 12 templates)",
            "  required    at least 0.5; off by 1.500",
            "  controls    4.2 not applicable; 4.3 not applicable",
        ],
    ),
    "every": (
        "from pytest_interp.measure import by_part, logit_diff\n"
        "def test_it(ioi):\n    assert_every(by_part(ioi, logit_diff(ioi), 'order'), at_least=8.9)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  logit_diff of every order on planted-ioi, ioi/confirm; the worst of",
            "  required    at least 8.9; off by *",
            "  worst       8.854: *",
            "  in all      0 of 2 surely meet it, 2 surely do not",
        ],
    ),
    "only": (
        "from pytest_interp.measure import direct_logit_attribution_sweep\n\n"
        "def test_it(ioi):\n    assert_only(direct_logit_attribution_sweep(ioi), ['3.0', '3.1'], at_least=0.5)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  3.0, 3.1 and no other by direct_logit_attribution on planted-ioi,",
            "  measured    2.970 logits (48 prompts of 12 templates)",
            "  required    at least 0.5; met, but see the note",
            "  others      17 of 18 surely outside, level corrected for their number",
            "              (Holm); nearest 3.2 2.970",
            "  named       3.0 5.941, 3.1 3.960",
            "  note        3.2 meets the bound too",
        ],
    ),
    "cell": (
        "def test_it(ioi):\n"
        "    from pytest_interp.measure import direct_logit_attribution_sweep\n"
        "    assert_cell(direct_logit_attribution_sweep(ioi), '4.0', at_least=0)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  direct_logit_attribution of 4.0 on planted-ioi, ioi/confirm",
            "  measured    -4.000 logits (48 prompts of 12 templates)",
            "  required    at least 0; off by 4.000",
            "  specific    also true of 17 of 19 other cells, by value",
        ],
    ),
    "completeness": (
        "def test_it(ioi):\n    assert_completeness(ioi, ['3.0', '3.1', '3.2'], between=(-1, 1))\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  circuit minus model on planted-ioi, ioi/confirm",
            "  measured    -13.186 logits (48 prompts of 12 templates)",
            "  required    between -1 and 1; off by 12.186",
        ],
    ),
    "component_attribution": (
        "def test_it(ioi):\n    assert_component_attribution(ioi, 'attn_out', 4, at_least=0)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  direct logit attribution of attn_out of layer 4 on planted-ioi,",
            "  measured    -4.017 logits (48 prompts of 12 templates)",
            "  required    at least 0; off by 4.017",
            "  controls    3 attn_out 12.871",
        ],
    ),
    "faithfulness": (
        "def test_it(ioi):\n    assert_faithfulness(ioi, ['3.0', '3.1', '3.2'], at_least=0.9)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  faithfulness of a circuit of 3 heads on planted-ioi, ioi/confirm",
            "  measured    -0.489 of model (48 prompts of 12 templates)",
            "  required    at least 0.9; off by 1.389",
            "  controls    random circuit 1 -0.002; random circuit 2 -0.002; random",
        ],
    ),
    "flips": (
        "def test_it(ioi):\n    assert_flips(ioi, 'abc', at_least=0.9)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  abc flips the answer on planted-ioi, ioi/confirm",
            "  measured    0.000 share (0 of 48 prompts of 12 templates)",
            "  required    at least 0.9; off by 0.900",
            "  controls    s2-exchanged 1.000; names-exchanged 1.000; random-names",
        ],
    ),
    "logit_lens": (
        "def test_it(ioi):\n    assert_logit_lens(ioi, 2, at_least=1)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  logit lens at resid_post of layer 2 (live norm) on planted-ioi,",
            "  measured    0.000 logits (48 prompts of 12 templates)",
            "  required    at least 1; off by 1.000",
            "  controls    1 resid_post 0.000; 3 resid_post 12.871",
        ],
    ),
    "loss": (
        "def test_it(ioi):\n    assert_loss(ioi, at_most=1)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  loss of the clean prompts on planted-ioi, ioi/confirm",
            "  measured    5.183 nats (48 prompts of 12 templates)",
            "  required    at most 1; off by 4.183",
        ],
    ),
    "matrix": (
        "def test_it(ioi):\n"
        "    from pytest_interp.measure import direct_logit_attribution_sweep\n"
        "    assert_matrix(direct_logit_attribution_sweep(ioi), {'3.0': 5, '4.0': -4}, within=0.5)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  largest difference of 2 cells of direct_logit_attribution on planted-",
            "  measured    0.941 logits (48 prompts of 12 templates)",
            "  required    within 0.5 of the expected number; off by 0.441",
            "  worst cells 3.0 5.941 for 5.000; 4.0 -4.000 for -4.000",
        ],
    ),
    "minimality": (
        "def test_it(ioi):\n    assert_minimality(ioi, '4.1', at_least=1)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  what 4.1 adds to the circuit on planted-ioi, ioi/confirm",
            "  measured    -0.017 logits (48 prompts of 12 templates)",
            "  required    at least 1; off by 1.017",
        ],
    ),
    "next_token": (
        "def test_it(ioi):\n    assert_next_token(ioi, 'probability', at_least=0.99)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  probability at END on planted-ioi, ioi/confirm",
            "  measured    0.977 probability (48 prompts of 12 templates)",
            "  required    at least 0.99; off by 0.013",
        ],
    ),
    "ov_eigenvalue_score": (
        "def test_it(ioi):\n    assert_ov_eigenvalue_score(ioi.checkpoint, '4.0', at_least=0.9)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  OV eigenvalue score of 4.0 (tokens) on planted-ioi",
            "  measured    -1.000 score (1 head; a fixed population)",
            "  required    at least 0.9; off by 1.900",
            "  controls    4.2 not applicable; 4.3 not applicable",
            "  note        this head only",
        ],
    ),
    "patch_effect": (
        "def test_it(ioi):\n    assert_patch_effect(ioi, 'resid_pre', 4, at='S2', at_least=0.5)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  patch effect of resid_pre 4 (denoise at S2, s2-exchanged) on planted-",
            "  measured    -4.7e-04 recovered (48 prompts of 12 templates)",
            "  required    at least 0.5; off by 0.500",
            "  controls    IO not applicable; S1 not applicable; S1+1 not applicable;",
        ],
    ),
    "path_patch_effect": (
        "def test_it(ioi):\n    assert_path_patch_effect(ioi, '2.0', 'logits', at_most=-1)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  path from 2.0 to the logits (abc, MLPs recompute) on planted-ioi,",
            "  measured    0.000 logits (48 prompts of 12 templates)",
            "  required    at most -1; off by 1.000",
            "  controls    2.3 not applicable; 2.2 not applicable",
            "  siblings    2.1 0.000",
        ],
    ),
    "prompt_copy_score": (
        "def test_it(ioi):\n    assert_prompt_copy_score(ioi, '4.0', at_least=0.9)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  copy score over prompts of 4.0 (top 5) on planted-ioi, ioi/confirm",
            "  measured    0.000 share (0 of 48 prompts of 12 templates)",
            "  required    at least 0.9; off by 0.900",
            "  controls    4.2 not applicable; 4.3 not applicable",
        ],
    ),
    "top": (
        "def test_it(ioi):\n"
        "    from pytest_interp.measure import direct_logit_attribution_sweep\n"
        "    assert_top(direct_logit_attribution_sweep(ioi), ['3.0', '4.0'])\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  3.0, 4.0 are the top 2 by direct_logit_attribution (positive) on",
            "  measured    -7.960 logits (48 prompts of 12 templates)",
            "  required    more than 0; off by 7.960",
            "  closest     4.0 -4.000, 3.1 3.960: one of 36 pairs",
            "  ranking     3.0 5.941, 3.1 3.960, 3.2 2.970, 0.0 0.000",
        ],
    ),
    "top_k": (
        "def test_it(ioi):\n    assert_top_k(ioi, 1, run='s2-exchanged', at_least=0.9)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  answer in the top 1 on planted-ioi, ioi/confirm",
            "  measured    0.000 share (0 of 48 prompts of 12 templates)",
            "  required    at least 0.9; off by 0.900",
        ],
    ),
    "detector_score": (
        "def test_it(repeated_tokens):\n"
        "    assert_detector_score(repeated_tokens, '1.0', 'previous_token', at_least=0.5)\n",
        [
            "pytest_interp.ClaimFailed: refuted",
            "  previous-token score of 1.0 on planted-ioi, repeated-tokens/19",
            "  measured    0.000 probability (16 prompts of 16 templates)",
            "  required    at least 0.5; off by 0.500",
            "  controls    1.",
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_assertion_says_what_it_saw(claims_project, name):
    body, expected = BROKEN[name]
    lines, result = failure(claims_project, body)
    from _pytest.pytester import LineMatcher

    LineMatcher(lines).fnmatch_lines([f"{line}*" for line in expected])
    assert max(map(len, lines[1:])) <= 72
    result.stdout.fnmatch_lines(
        ["*Captured claim call*", "statement  none", "source     a paper, section 1", "measured *"]
    )


def test_the_whole_text_of_one_failure(claims_project):
    lines, _ = failure(claims_project, BROKEN["direct_logit_attribution"][0])
    assert lines == [
        "pytest_interp.ClaimFailed: refuted",
        "  direct logit attribution of 3.2 on planted-ioi, ioi/confirm",
        "  measured    2.970 logits (48 prompts of 12 templates)",
        "  interval    2.970 to 2.970 (95 %, t over templates)",
        "  required    at least 3.5; off by 0.530",
        "  worst         2.970  ...ear the beach, David passed a knife to -> John",
        "                2.970  ...the market, and Steven lent a map to -> Robert",
        "                2.970  ...ibrary. Then Martin showed a basket to -> Paul",
        "  controls    3.3 0.000",
        "  specific    true of 2 of 19 other heads",
        "  siblings    3.0 5.941; 3.1 3.960",
        "  note        all templates have the same mean: the interval has no",
        "              width",
    ]


def test_all_assertions_have_a_broken_claim():
    import pytest_interp

    assert {f"assert_{name}" for name in BROKEN} == {n for n in pytest_interp.__all__ if n.startswith("assert_")}


def test_a_model_that_cannot_do_the_task_is_not_applicable(claims_project):
    body = """
def test_it(ioi):
    from dataclasses import replace
    wrong = replace(ioi, data=replace(ioi.data, clean=ioi.data.run("s2-exchanged")))
    assert_head_patch_effect(wrong, "3.0", at="END", at_most=9)
"""
    claims_project.makepyfile(test_it=HEAD + body)
    result = claims_project.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["planted-ioi: 1 not applicable", "SKIPPED*not applicable: planted-ioi does not do the task on ioi/confirm: *"]
    )


def test_runs_that_do_not_differ_get_a_sentence(claims_project):
    body = """
def test_it(ioi):
    from dataclasses import replace
    same = replace(ioi, data=replace(ioi.data, corrupted={"same": ioi.data.clean}))
    assert_head_patch_effect(same, "3.0", at="END", corruption="same", at_most=9)
"""
    claims_project.makepyfile(test_it=HEAD + body)
    result = claims_project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the corruption 'same' of ioi/confirm changes no prompt*"])


def test_a_head_that_is_not_there(claims_project):
    lines, _ = failure(
        claims_project, "def test_it(ioi):\n    assert_attention(ioi, '9.9', at='END', to='IO', at_least=0)\n"
    )
    assert any("planted-ioi has no head 9.9: its layers are 0 to 4" in line for line in lines)


def test_an_expected_failure_is_strict(claims_project):
    path = claims_project.path / "circuits" / "planted-ioi.toml"
    claim = '[[expected_failures]]\nclaim = "test_it"\nreason = "measured 8.854"\n'
    path.write_text(f"{path.read_text()}\n{claim}")
    claims_project.makepyfile(test_it=HEAD + "def test_it(ioi):\n    assert_logit_diff(ioi, at_least=9)\n")
    result = claims_project.runpytest()
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["planted-ioi: 1 expected failure", "  expected failure*", "*measured 8.854*"])
    claims_project.makepyfile(test_it=HEAD + "def test_it(ioi):\n    assert_logit_diff(ioi, at_least=8)\n")
    claims_project.runpytest().assert_outcomes(failed=1)


def test_hypothesis_shrinks_to_a_smallest_pair(claims_project):
    body = """
from hypothesis import given, settings, strategies as st
from pytest_interp.strategies import PROFILE, name_pairs

@settings(PROFILE)
@given(data=st.data())
def test_it(make_ioi_pairs, names, data):
    pair = data.draw(name_pairs(names), label="IO, S")
    assert_logit_diff(make_ioi_pairs(pair), at_least=9)
"""
    _, result = failure(claims_project, body)
    result.stdout.fnmatch_lines(
        ["*names=<20 names, John to Jack>*", "*Draw 1 (IO, S): ('John', 'Robert')*", "*to paste: *"]
    )
    assert "Thomas" not in result.stdout.str(), "the pool of names is no part of the smallest case"


def test_hypothesis_keeps_the_worst_of_its_examples(claims_project):
    body = """
from hypothesis import given, settings, strategies as st
from pytest_interp.strategies import PROFILE, name_sets

@settings(PROFILE)
@given(data=st.data())
def test_it(checkpoint, names, data):
    assert_copy_score(checkpoint, "3.0", names=data.draw(name_sets(names, min_size=3)), controls=0, at_least=0.5)
"""
    claims_project.makepyfile(test_it=HEAD + body)
    result = claims_project.runpytest("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["planted-ioi: 1 supported*", "*copy_score 1.000, at least 0.5"])
