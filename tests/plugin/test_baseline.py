"""``--interp-baseline`` on variants of the planted model, whose drift is known by construction."""

import pytest

from pytest_interp.compare.drift import drift
from pytest_interp.ledger.ledger import read

VARIANTS = """
from pathlib import Path
from tempfile import mkdtemp

from pytest_interp.checkpoints.planted.build import Plan, build_planted
from pytest_interp.checkpoints.planted.rules import RULES, with_rule, without, Write
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.heads import Head
from dataclasses import replace

MOVER = RULES[Head(3, 1)]


def writes(gain):
    return Plan(with_rule(replace(MOVER, writes=(Write("token", "output", gain),))))


PLANS = {
    "same": Plan(RULES),
    "weaker": writes(3),
    "stronger": writes(6),
    "removed": Plan(without(Head(3, 1))),
    "moved": Plan({**without(Head(3, 1)), Head(3, 3): replace(MOVER, head=Head(3, 3))}),
    "reversed": writes(-4),
    "noisy": Plan(RULES, noise=0.01),
}


def pytest_interp_checkpoints(config):
    def spec(name, plan):
        return CheckpointSpec(name, loader=lambda: build_planted(plan, Path(mkdtemp())), bos=True)

    return [spec(name, plan) for name, plan in PLANS.items()]
"""
CLAIMS = '''
import pytest
from pytest_interp import assert_attention, assert_direct_logit_attribution, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper", role="name_mover")

def test_task(ioi):
    """The answer is preferred."""
    assert_logit_diff(ioi, at_least=1)

def test_writes(ioi):
    """3.1 writes the answer."""
    assert_direct_logit_attribution(ioi, "3.1", at_least=2)

def test_reads(ioi):
    """3.1 reads the answer."""
    assert_attention(ioi, "3.1", at="END", to="IO", at_least=0.5)
'''

TRUTH = {
    "same": ("held", "held", "held"),
    "weaker": ("weakened", "weakened", "held"),
    "stronger": ("held", "held", "held"),
    "removed": ("weakened", "lost", "lost"),
    "moved": ("held", "lost", "lost"),
    "reversed": ("weakened", "reversed", "held"),
    "noisy": None,  # what noise of this size does is not known by construction; that nothing is lost is
}


ROLE = {"moved": "moved heads, same mechanism", "removed": "fewer heads", "reversed": "fewer heads"}
"""What became of the role of 3.0, 3.1 and 3.2, where it is not held."""


@pytest.fixture
def project(claims_project):
    claims_project.makeconftest(VARIANTS)
    claims_project.makepyfile(test_it=CLAIMS)
    return claims_project


def words(path, name):
    ledger = read(path)
    claims = drift(ledger.of("planted-ioi"), ledger.of(name)).claims
    return {claim.pair.name.removeprefix("it."): claim.word for claim in claims}


def test_the_words_on_planted_variants_are_those_of_their_construction(project):
    models = [text for name in TRUTH for text in ("--interp-model", name)]
    options = ("--interp-baseline", "planted-ioi", "--interp-ledger", "all.json", "--interp-prompts", "24")
    result = project.runpytest(*models, *options)
    lines = []
    for name, truth in TRUTH.items():
        by_claim = words(project.path / "all.json", name)
        if truth is None:
            assert set(by_claim.values()) <= {"held", "weakened"}, name
        else:
            assert tuple(by_claim[claim] for claim in ("task", "writes", "reads")) == truth, name
        hold = sum(word in ("held", "weakened") for word in by_claim.values())
        lines += ["*= drift =*", f"*role name_mover: {ROLE.get(name, 'held')}*"]
        lines += [f"{hold} of 3 findings of planted-ioi hold* on {name}*"]
    result.stdout.fnmatch_lines(lines)


def test_a_ledger_is_a_baseline_too_also_of_workers_and_of_a_run_that_goes_on(project):
    few = ("--interp-prompts", "24")
    project.runpytest("--interp-model", "planted-ioi", "--interp-ledger", "base.json", "--interp-profile", *few)
    options = (
        "--interp-baseline",
        "base.json",
        "--interp-ledger",
        "mine/",
        "--interp-page",
        "mine.html",
        "-n",
        "2",
        *few,
    )
    for replayed in ([], ["*6 claims read from *mine, not measured again*"]):
        result = project.runpytest("--interp-model", "weaker", "--interp-model", "removed", *options)
        result.stdout.fnmatch_lines(
            [
                "  role name_mover: held",
                "3 of 3 findings of planted-ioi hold on weaker (2 of them weakened)",
                "  role name_mover: fewer heads",
                "1 of 3 findings of planted-ioi holds on removed (1 of them weakened); 2 lost;*",
                "  name_mover lost 3.1",
                *replayed,
            ]
        )
        html = (project.path / "mine.html").read_text()
        assert "1 of 3 findings of planted-ioi holds on removed" in html
        assert html.count('class="claim s-') == 6
        assert '"head":"3.1"' in html
        (project.path / "mine.html").unlink()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--interp-baseline", "planted-ioi"), "*--interp-baseline needs --interp-model*"),
        (("--interp-model", "same", "--interp-baseline", "none.json"), "*none.json*"),
        (("--interp-model", "same", "--interp-baseline", "nobody"), "*nobody*"),
        (("--interp-model", "same", "--interp-baseline", "same"), "*two checkpoints are named 'same'*"),
        (("--interp-model", "same", "--interp-profile"), "*--interp-profile is written into the ledger*"),
    ],
)
def test_a_baseline_that_cannot_be_is_refused_in_a_sentence(project, options, message):
    result = project.runpytest(*options)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])


def test_a_quick_run_measures_the_profile_of_heads_only_where_it_is_asked_for(project):
    project.makepyfile(test_it=CLAIMS.replace('role="name_mover"', 'role="name_mover", quick=True'))
    against = (
        "--interp-model",
        "moved",
        "--interp-baseline",
        "planted-ioi",
        "--interp-prompts",
        "24",
        "--interp-quick",
    )
    moved = "*role name_mover: moved heads, same mechanism*"
    quick = project.runpytest(*against)
    quick.stdout.no_fnmatch_line(moved)
    quick.stdout.fnmatch_lines(["heads are not compared: planted-ioi: a quick run measures no profile*"])
    project.runpytest(*against, "--interp-profile").stdout.fnmatch_lines([moved])
