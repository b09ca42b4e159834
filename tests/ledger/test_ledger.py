"""The ledger's file: its schema, that it gives the ledger back, what is refused, and what it leaves out."""

import json
from dataclasses import replace

import jsonschema
import pytest
from records import GPT2, a_run, ledger_of, outcome_of, record, sampled_record

from pytest_interp import Sample, UsageError
from pytest_interp.ledger.ledger import SCHEMA, Ledger, NotRun, Pattern, RecordedCheckpoint, read
from pytest_interp.ledger.merging import merged
from pytest_interp.ledger.outcome import LeftSnapshot, OtherPrompts
from pytest_interp.ledger.profile import Profile, PromptDraw, RoleScores
from pytest_interp.ledger.record import RecordedSweep, RecordedTable
from pytest_interp.ledger.redaction import without_prompts
from pytest_interp.ledger.reruns import Falsified, Float32Run, Movement, Mutant

PATTERN = Pattern("9.9", "ioi/confirm", ("Mary", " gave"), ((1.0,), (0.25, 0.75)))


SAMPLE = Sample(("Mary gave", "Mary took"), ("the template", "the other"), "sampled", (("Mary",), ("Tom",)))
SCORES = RoleScores("mover", "END reads IO", ("9.9",), 0.1, {"9.9": 0.5, "9.8": 0.0}, {"9.9": (0.4, 0.6)})
PROFILE = Profile(
    (PromptDraw("0123", SAMPLE, (1.0, 2.0), (1.0, 0.0), (), (SCORES,), {"9.9": 1.0, "9.8": 0.0}, ("of Mary",)),),
)


def whole() -> Ledger:
    """A ledger with everything that one can have."""
    table = RecordedTable("attention", "share", ("layer", "head"), (("9.9", 0.5, (0.4, 0.6)), ("9.8", 0.1, None)))
    sweep = RecordedSweep(("8", "9"), ("0", "1"), ((0.5, None), (-0.25, 1e-9)))
    infinite = record(slack=float("inf"), details={"worst": "Mary gave", "found": "9.9"}, notes=("of Mary",))
    outcome = outcome_of(
        "all",
        sampled_record(sweep=sweep),
        sampled_record(0.5, table=table, examples=3, sweep=sweep),
        infinite,
        snapshot="differs",
        left=LeftSnapshot(("logit_diff 1.000 -> 2.000",), "torch 2.12.0"),
        float32=Float32Run(True, "supported in float32, of Mary", (sampled_record(),)),
        prompts=(OtherPrompts("ioi/confirm", ("seed was 0, is 1",), True),),
        noise=(Movement("other seed", "logit_diff", "logits", 0.1, 1.0, 1e-4, "supported", False),),
        falsified=Falsified((Mutant("zeroed", "die", "killed", "of Mary", True),), "1 of 1", ""),
    )
    skipped = outcome_of("skips", outcome="skipped", when="setup", reason="Skipped: not applicable: no such name Mary")
    checkpoints = (RecordedCheckpoint("gpt2", "checkpoint = 'gpt2'", (PATTERN,), (0.5,), PROFILE),)
    left_out = NotRun("/home/me/other", "/home/me/other is no model", 17)
    return replace(ledger_of(outcome, skipped, not_run=(left_out,)), checkpoints=checkpoints)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(whole().to_text())
    return path


def test_the_file_is_as_its_schema_says(path):
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for ledger in (whole(), without_prompts(whole()), ledger_of()):
        assert list(validator.iter_errors(json.loads(ledger.to_text()))) == []
    # The schema can refuse: each of these is no ledger.
    content = json.loads(path.read_text())
    for changes in ({"format": 2}, {"hash": "?"}, {"claims": [{}]}, {"more": 1}, {"run": {}}):
        assert list(validator.iter_errors({**content, **changes})), changes


def test_a_file_gives_the_ledger_back(path):
    assert read(path) == whole()


def test_a_sample_that_records_share_is_written_once(path):
    content = json.loads(path.read_text())
    keys = [record["sample"] for record in content["claims"][0]["records"]]
    assert keys[0] == keys[1] != keys[2]
    assert set(content["samples"]) == set(keys)


def test_a_sweep_that_records_share_is_written_once_and_old_ledgers_have_none(path):
    content = json.loads(path.read_text())
    assert {record.get("sweep") for record in content["claims"][0]["records"]} == {*content["sweeps"], None}
    old = replace(whole(), run=replace(whole().run, not_run=()))
    records = [replace(record, sweep=None) for record in old.claims[0].records]
    old = replace(old, claims=(replace(old.claims[0], records=tuple(records)), *old.claims[1:]))
    assert not {"sweeps", "not_run"} & {*json.loads(old.to_text()), *json.loads(old.to_text())["run"]}
    path.write_text(old.to_text())
    assert read(path) == old


def broken_files(content):
    yield "", "is not JSON"
    yield json.dumps(content)[:900], "it may be cut off"
    yield "[]", "is no ledger"
    yield '{"claims": 1}', "is no ledger"
    yield json.dumps({**content, "format": 2}), "has format 2, and this pytest-interp reads format 3; run pytest with"
    yield json.dumps({**content, "format": "new"}), "has format 'new'"
    edited = json.loads(json.dumps(content))
    edited["claims"][0]["records"][0]["value"] = 9.0
    yield json.dumps(edited), "was changed after it was written: its hash is another"
    yield json.dumps({key: value for key, value in content.items() if key != "hash"}), "its hash is another"
    yield json.dumps(edited).replace("9.0", "NaN"), "NaN is no number of JSON"


def test_what_is_no_ledger_is_a_sentence(path, tmp_path):
    for text, message in broken_files(json.loads(path.read_text())):
        path.write_text(text)
        with pytest.raises(UsageError) as refused:
            read(path)
        assert message in str(refused.value)
        assert str(path) in str(refused.value)
    with pytest.raises(UsageError, match="is a folder; pass the file"):
        read(tmp_path)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read(tmp_path / "none.json")


def test_a_hash_of_invalid_content_does_not_help(path):
    from pytest_interp.ledger.ledger import _digest

    content = json.loads(path.read_text())
    del content["hash"], content["claims"][0]["outcome"]
    path.write_text(json.dumps({**content, "hash": _digest(content)}))
    with pytest.raises(UsageError, match=r"is no valid ledger \(KeyError: 'outcome'\)"):
        read(path)


def test_white_space_and_order_of_keys_are_no_change(path):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items())), indent=4))
    assert read(path) == whole()


# ---- without prompts


def test_without_prompts_no_text_is_left():
    mine = outcome_of(
        "mine", sampled_record(checkpoint=replace(GPT2, name="/home/me/mine")), checkpoint="/home/me/mine"
    )
    ledger = whole()
    ledger = replace(
        ledger, claims=(*ledger.claims, mine), run=replace(ledger.run, flags=("--interp-model", "/home/me/mine"))
    )
    text = without_prompts(ledger).to_text()
    for private in ("Mary", "/home", "prompt 0", "template 0", "def test_it", "checkpoint = "):
        assert private in ledger.to_text()
        assert private not in text, private
    assert '"found": "9.9"' in text


def test_without_prompts_numbers_pair_as_before():
    """Prompts of one template, and those that share a name, still do."""
    sample = without_prompts(whole()).claims[0].records[0].sample
    original = whole().claims[0].records[0].sample
    assert len(set(zip(sample.clusters, original.clusters, strict=True))) == len(set(original.clusters))
    pairs = {pair for both in zip(sample.names, original.names, strict=True) for pair in zip(*both, strict=True)}
    assert len(pairs) == 6
    assert without_prompts(whole()).claims[1].finding == "not applicable"


# ---- merging


def test_shards_are_joined():
    shards = {name: ledger_of(outcome_of(name, sampled_record())) for name in ("a", "b")}
    other = RecordedCheckpoint("gpt2", "", (replace(PATTERN, head="9.6"),))
    shards["a"] = replace(shards["a"], checkpoints=whole().checkpoints)
    shards["b"] = replace(shards["b"], checkpoints=(other,), run=a_run(started="2026-11-28T11:00:00Z", seconds=1.0))
    whole_run = merged(shards)
    assert [claim.claim.name for claim in whole_run.claims] == ["test_a[gpt2]", "test_b[gpt2]"]
    assert (whole_run.run.ended, whole_run.run.collected, whole_run.run.is_complete) == (2, 2, True)
    assert (whole_run.run.started, whole_run.run.seconds) == ("2026-11-28T11:00:00Z", 4.5)
    (checkpoint,) = whole_run.checkpoints
    assert [pattern.head for pattern in checkpoint.patterns] == ["9.6", "9.9"]
    assert checkpoint.circuit == "checkpoint = 'gpt2'"


def test_the_same_claim_twice_counts_once_or_is_refused():
    first = ledger_of(outcome_of("a", sampled_record()), outcome_of("b", sampled_record()))
    again = ledger_of(outcome_of("b", sampled_record()))
    assert (merged({"1": first, "2": again}).run.collected, len(merged({"1": first, "2": again}).claims)) == (2, 2)
    moved = ledger_of(outcome_of("b", sampled_record(0.1)))
    with pytest.raises(UsageError, match=r"test_b\[gpt2\] is in 1.json and in 2.json with other results"):
        merged({"1.json": first, "2.json": moved})


def test_what_a_shard_left_out_is_left_out_of_all_only_where_no_shard_has_it():
    first = ledger_of(outcome_of("a"), not_run=(NotRun("gpt2", "not quick", 3), NotRun("other", "not selected", 2)))
    second = ledger_of(outcome_of("b"), not_run=(NotRun("gpt2", "not quick", 4), NotRun("none", "no weights", 5)))
    third = ledger_of(outcome_of("c", checkpoint="other"), not_run=(NotRun("gpt2", "not selected", 1),))
    assert merged({"1": first, "2": second}).run.not_run == (
        NotRun("gpt2", "not quick", 3),
        NotRun("other", "not selected", 2),
        NotRun("none", "no weights", 5),
    )
    assert merged({"1": first, "2": second, "3": third}).run.not_run == (NotRun("none", "no weights", 5),)


def test_runs_with_other_versions_are_no_shards():
    first = ledger_of(outcome_of("a", sampled_record()))
    second = ledger_of(outcome_of("b", sampled_record()), versions={"torch": "2.14.0", "python": "3.12.1"})
    with pytest.raises(UsageError, match=r"no parts of one run: torch 2.13.0 in the first, 2.14.0 in the second"):
        merged({"1": first, "2": second})
