"""``--interp-baseline`` with another tokenizer: both are asked the same texts, of the words that they share."""

from dataclasses import replace

import pytest
from records import GPT2, IOI, sampled_record

from pytest_interp.compare.drift import drift
from pytest_interp.ledger.ledger import read
from pytest_interp.ledger.redaction import without_prompts
from pytest_interp.report.drift import markdown, table, terminal
from pytest_interp.snapshots.extension import differences, entry_of, other_prompts
from pytest_interp.snapshots.snapshot_file import check_entry
from pytest_interp.tasks.ioi_words import NAMES

VARIANTS = """
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from models import planted_of_names
from pytest_interp import CheckpointSpec
from pytest_interp.checkpoints.planted.rules import RULES, Write, with_rule
from pytest_interp.heads import Head
from pytest_interp.tasks.ioi_words import NAMES

WEAKER = with_rule(replace(RULES[Head(3, 1)], writes=(Write("token", "output", 3),)))
MODELS = {
    "others": (RULES, [*NAMES[40:50], *NAMES[:30][::-1]]),
    "weaker": (WEAKER, [*NAMES[40:50], *NAMES[:30][::-1]]),
    "few": (RULES, [*NAMES[40:75], *NAMES[:5]]),
}


def pytest_interp_checkpoints(config):
    def spec(name, plan, names):
        loader = lambda: planted_of_names(plan, Path(mkdtemp()), names)
        return CheckpointSpec(name, loader=loader, bos=True, circuit="planted-ioi")

    return [spec(name, *model) for name, model in MODELS.items()]
"""
CLAIMS = '''
import pytest
from pytest_interp import assert_copy_score, assert_detector_score, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

def test_task(ioi):
    """The answer is preferred."""
    assert_logit_diff(ioi, at_least=1)

def test_copies(checkpoint, names):
    """3.1 copies names."""
    assert_copy_score(checkpoint, "3.1", names=names, at_least=0.5)
'''
SHARED = f"shared by the tokenizers of planted-ioi and {{}}: {{}} of {len(NAMES)} first names are left"
AGAINST = ("--interp-baseline", "planted-ioi", "--interp-prompts")


@pytest.fixture
def project(claims_project):
    claims_project.makeconftest(VARIANTS)
    claims_project.makepyfile(test_it=CLAIMS)
    return claims_project


def said(result):
    """What a run printed, in one line: the terminal breaks long ones."""
    return " ".join(result.stdout.str().split())


def test_a_difference_is_paired_by_the_texts(project):
    result = project.runpytest("--interp-model", "weaker", "--interp-ledger", "both.json", *AGAINST, "24")
    words = SHARED.format("weaker", 30)
    assert said(result).replace("interp: ", "").count(f"words {words}") == 2  # in the header, and with the drift
    both = read(project.path / "both.json")
    for ledger in (both, without_prompts(both)):
        result = drift(ledger.of("planted-ioi"), ledger.of("weaker"))
        assert result.words == words
        task = next(claim for claim in result.claims if "task" in claim.pair.name)
        assert task.word == "weakened"
        records = [outcome.records[0] for outcome in (task.pair.before, task.pair.after)]
        assert records[0].sample.labels == records[1].sample.labels
        assert records[0].context.data.digest != records[1].context.data.digest
        low, high = task.pair.moves[0].interval
        differences = [after - before for before, after in zip(*(record.values for record in records), strict=True)]
        assert low < sum(differences) / 24 < high < 0
        assert result.circuit.capability[0].interval == pytest.approx((low, high))
        assert result.circuit.roles[0].heads[0].score.interval is not None
        assert words in " ".join(line.text for line in terminal(result)).replace("   ", " ")
        assert words in markdown(result)
        assert table(result)["words"] == words


def test_too_few_names_are_an_error_in_a_sentence(project):
    result = project.runpytest("--interp-model", "few", *AGAINST, "24")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert f"words {SHARED.format('few', 5)}" in said(result)
    sentence = f"only 2 of {len(NAMES) // 2} first names are single tokens of all of the tokenizers of planted-ioi, few"
    assert said(result).count(sentence) >= 4  # of each claim, on both


def test_snapshots_are_of_the_own_words_as_of_any_other_choice(project):
    project.runpytest("--interp-model", "planted-ioi", "--snapshot-update", "--interp-prompts", "8")
    result = project.runpytest("--interp-model", "others", *AGAINST, "8")
    assert result.ret == pytest.ExitCode.OK
    for data in ("ioi/confirm", "names"):
        assert f"{data}, 1 claim not compared: " in said(result)
    assert f"words was of its own tokenizer, is {SHARED.format('others', 30)}" in said(result)


def test_a_snapshot_says_which_words_it_was_taken_on():
    words = SHARED.format("others", 30)
    own = sampled_record()
    shared = sampled_record(
        checkpoint=replace(GPT2, words=words), data=replace(IOI, digest="ba9876543210", texts="123456789012")
    )
    listed = replace(shared, context=replace(shared.context, data=IOI))  # listed prompts are the same on both
    of_own, of_shared, of_listed = (entry_of([record], "607a30d783df", drawn=False) for record in (own, shared, listed))
    assert "words" not in of_own["records"][0]
    check_entry(of_shared, "file")
    (now,) = other_prompts([shared], of_shared, of_own)
    assert (now.differs, now.chosen) == ((f"words was of its own tokenizer, is {words}",), True)
    (later,) = other_prompts([own], of_own, of_shared)
    assert (later.differs, later.chosen) == ((f"words was {words}, is of its own tokenizer",), True)
    for record, entry, stored in (
        (shared, of_shared, of_shared),
        (listed, of_listed, of_own),
        (own, of_own, of_listed),
    ):
        assert other_prompts([record], entry, stored) == ()
        assert differences(entry, stored) == []


def test_a_ledger_of_other_words_is_measured_again(project):
    ledger = ("--interp-ledger", "mine/")
    project.runpytest("--interp-model", "planted-ioi", "--interp-prompts", "8", *ledger)
    changed = "planted-ioi is measured again: the words that it shares with other checkpoints have changed"
    for message in (changed, "4 claims read from"):
        assert message in said(project.runpytest("--interp-model", "others", *AGAINST, "8", *ledger))
