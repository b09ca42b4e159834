"""Snapshots: what is compared, what is new, what is accepted and what is never lost."""

import json

import pytest

CLAIM = """
import pytest
from pytest_interp import assert_copy_score, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper", role="name_mover")

def test_task(ioi):
    assert_logit_diff(ioi, at_least=2)

def test_copies(checkpoint, head, names):
    assert_copy_score(checkpoint, head, names=names, at_least=0.8)
"""


@pytest.fixture
def project(claims_project):
    claims_project.makepyfile(test_it=CLAIM)
    return claims_project


def snapshot_file(project):
    return project.path / "__snapshots__" / "test_it.json"


def edit(project, name, **change):
    entries = json.loads(snapshot_file(project).read_text())
    entries[name]["records"][0].update(change)
    snapshot_file(project).write_text(json.dumps(entries))


@pytest.fixture
def accepted(project):
    result = project.runpytest("--snapshot-update")
    result.assert_outcomes(passed=4)
    return project


def test_a_first_run_reports_new_numbers_and_writes_nothing(project):
    result = project.runpytest()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["planted-ioi: 4 supported, 4 new number"])
    assert not snapshot_file(project).exists()


def test_accepting_and_matching(accepted):
    entries = json.loads(snapshot_file(accepted).read_text())
    assert set(entries) == {"test_task[planted-ioi]", *(f"test_copies[planted-ioi-3.{i}]" for i in range(3))}
    record = entries["test_task[planted-ioi]"]["records"][0]
    assert record["outcome"] == "supported"
    assert record["tolerance"] == 2e-4
    result = accepted.runpytest()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["4 snapshots passed.", "planted-ioi: 4 supported"])


def test_a_number_within_its_tolerance_matches(accepted):
    stored = json.loads(snapshot_file(accepted).read_text())["test_task[planted-ioi]"]["records"][0]["value"]
    edit(accepted, "test_task[planted-ioi]", value=stored + 1e-4)
    accepted.runpytest().assert_outcomes(passed=4)


def test_a_number_that_moved_fails_with_how_far(accepted):
    edit(accepted, "test_task[planted-ioi]", value=8.75)
    result = accepted.runpytest()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "test_task?planted-ioi? holds, but its numbers left their snapshot",
            "  logit_diff: 8.750 -> 8.854 (moved +0.1, up to 0.0002 allowed)",
            "  `--snapshot-update` accepts them as measured now",
            "planted-ioi: 3 supported, 1 snapshot differs",
        ]
    )


def test_a_decision_must_match_exactly(accepted):
    edit(accepted, "test_task[planted-ioi]", bound="at least 3")
    result = accepted.runpytest()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["  logit_diff: bound was 'at least 3', is 'at least 2'"])


def test_a_snapshot_that_was_deleted_fails_and_is_named(accepted):
    entries = json.loads(snapshot_file(accepted).read_text())
    del entries["test_task[planted-ioi]"]
    snapshot_file(accepted).write_text(json.dumps(entries))
    result = accepted.runpytest()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["test_task?planted-ioi? holds, but has no snapshot, though its weights are known"])


def test_a_whole_file_that_was_deleted_fails_where_the_circuit_knows_the_weights(accepted):
    entries = json.loads(snapshot_file(accepted).read_text())
    circuit = accepted.path / "circuits" / "planted-ioi.toml"
    fingerprint = entries["test_task[planted-ioi]"]["fingerprint"]
    circuit.write_text(f'fingerprint = "{fingerprint}"\n{circuit.read_text()}')
    snapshot_file(accepted).unlink()
    result = accepted.runpytest()
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["planted-ioi: 4 no snapshot"])


def test_new_weights_are_reported_as_new_and_lose_nothing(accepted):
    text = snapshot_file(accepted).read_text()
    entries = json.loads(text)
    for entry in entries.values():
        entry["fingerprint"] = "another"
    snapshot_file(accepted).write_text(json.dumps(entries))
    result = accepted.runpytest()
    result.assert_outcomes(passed=4)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["planted-ioi: 4 supported, 4 new number"])
    assert json.loads(snapshot_file(accepted).read_text()) == entries


def test_other_prompts_are_not_compared(accepted):
    result = accepted.runpytest("--interp-prompts", "24")
    result.assert_outcomes(passed=4)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["planted-ioi: 4 supported, 1 other prompts"])


def test_a_part_of_the_run_deletes_nothing(accepted):
    before = snapshot_file(accepted).read_text()
    for arguments in (["-k", "task"], ["test_it.py::test_task"], ["--interp-model", "planted-ioi", "-k", "3.1"]):
        result = accepted.runpytest("--snapshot-update", *arguments)
        assert result.ret == 0
        assert json.loads(snapshot_file(accepted).read_text()) == json.loads(before)


def test_checkpoints_that_are_not_selected_keep_their_snapshots(accepted):
    accepted.makeconftest(
        """
        from pytest_interp import CheckpointSpec

        def pytest_interp_checkpoints(config):
            return [CheckpointSpec("other", kind="planted", source="planted-ioi", bos=True, circuit="planted-ioi")]
        """
    )
    before = json.loads(snapshot_file(accepted).read_text())
    result = accepted.runpytest("--interp-model", "other", "--snapshot-update")
    result.assert_outcomes(passed=4, deselected=4)
    after = json.loads(snapshot_file(accepted).read_text())
    assert len(after) == 8
    assert {name: after[name] for name in before} == before


def test_a_failing_claim_keeps_its_snapshot(accepted):
    before = snapshot_file(accepted).read_text()
    accepted.makepyfile(test_it=CLAIM.replace("at_least=2", "at_least=99"))
    for arguments in ([], ["--snapshot-update"]):
        accepted.runpytest(*arguments).assert_outcomes(passed=3, failed=1)
        assert json.loads(snapshot_file(accepted).read_text()) == json.loads(before)


@pytest.mark.parametrize("arguments", [["-x"], []])
def test_a_claim_that_never_ran_keeps_its_snapshot(accepted, arguments):
    before = json.loads(snapshot_file(accepted).read_text())
    broken = "import pytest\n@pytest.fixture\ndef broken(): raise RuntimeError\n" + CLAIM
    accepted.makepyfile(test_it=broken.replace("def test_task(ioi", "def test_task(ioi, broken"))
    result = accepted.runpytest("--snapshot-update", *arguments)
    assert result.parseoutcomes()["errors"] == 1
    assert json.loads(snapshot_file(accepted).read_text()) == before


def test_another_number_of_verdicts_is_a_difference(accepted):
    entries = json.loads(snapshot_file(accepted).read_text())
    entries["test_task[planted-ioi]"]["records"] *= 2
    snapshot_file(accepted).write_text(json.dumps(entries))
    result = accepted.runpytest()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["  1 verdicts now, 2 in the snapshot"])


def test_changed_templates_do_not_pass_as_other_prompts(accepted):
    edit(accepted, "test_task[planted-ioi]", data_hash="another")
    result = accepted.runpytest()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["  logit_diff: data_hash was 'another', is '*'"])


def test_an_expected_failure_that_passes_is_the_news_with_or_without_a_snapshot(accepted):
    path = accepted.path / "circuits" / "planted-ioi.toml"
    path.write_text(
        f"{path.read_text()}\n[[expected_failures]]\nclaim = 'test_it.py::test_task'\nreason = 'measured'\n"
    )
    result = accepted.runpytest("-k", "task")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*XPASS(strict)*measured*"])
    # A mistake in the claim is no expected failure.
    accepted.makepyfile(test_it=CLAIM.replace("at_least=2", "at_leest=2"))
    accepted.runpytest("-k", "task").assert_outcomes(failed=1)


def test_a_claim_that_is_gone_loses_its_snapshot_on_update(accepted):
    accepted.makepyfile(test_it=CLAIM.replace("def test_task", "def test_other_task"))
    result = accepted.runpytest("--snapshot-update")
    result.assert_outcomes(passed=4)
    assert "test_task[planted-ioi]" not in json.loads(snapshot_file(accepted).read_text())


def test_a_file_that_is_not_valid_is_named_and_kept(accepted):
    for broken, message in (
        ("{", "is not a valid snapshot file"),
        ('{"a": 1}', "is not a snapshot file of pytest-interp"),
    ):
        snapshot_file(accepted).write_text(broken)
        result = accepted.runpytest("-k", "task")
        assert result.ret != 0
        result.stdout.fnmatch_lines([f"*test_it.json {message}*restore it, or delete it and run --snapshot-update*"])
        assert snapshot_file(accepted).read_text() == broken


def test_updating_is_refused_with_workers(project):
    result = project.runpytest_subprocess("--snapshot-update", "-n2")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*--snapshot-update does not go with -n*leave out -n*"])


def test_nothing_is_half_written(tmp_path, monkeypatch):
    from pytest_interp.snapshots import read_file, write_file

    path = tmp_path / "s.json"
    write_file(path, {"a": {"fingerprint": "f", "records": []}})
    with pytest.raises(TypeError):
        write_file(path, {"a": {"fingerprint": "f", "records": [object()]}})
    assert read_file(path) == {"a": {"fingerprint": "f", "records": []}}
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]


def test_the_extension_serves_ordinary_tests_too(pytester):
    pytester.makepyfile(
        """
        from pytest_interp.snapshots import MeasurementSnapshotExtension

        def test_it(snapshot):
            row = {"quantity": "probe", "outcome": "supported", "value": 0.5, "tolerance": 0.01}
            assert {"fingerprint": "f", "records": [row]} == snapshot.use_extension(MeasurementSnapshotExtension)
        """
    )
    pytester.runpytest("--snapshot-update").assert_outcomes(passed=1)
    pytester.runpytest().assert_outcomes(passed=1)
