"""Snapshots: what is compared, what is new, what is accepted and what is never lost."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from models import TASK_AND_COPIES

from pytest_interp.errors import UsageError
from pytest_interp.snapshots.extension import differences
from pytest_interp.snapshots.snapshot_file import read_file, write_file


@pytest.fixture
def project(claims_project):
    claims_project.makepyfile(test_it=TASK_AND_COPIES)
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
            "logit_diff 8.750 -> 8.854 (moved +0.1, up to 0.0002 allowed)",
            "  test_task?planted-ioi? holds, but its numbers left their snapshot;",
            "  `--snapshot-update` accepts them as measured now",
            "planted-ioi: 3 supported, 1 snapshot differs",
            "*= numbers that left their snapshot =*",
            "taken with device cpu, dtype float32, transformer-lens *",
            "  it.task?planted-ioi?",
            "    logit_diff 8.750 -> 8.854 (moved +0.1, up to 0.0002 allowed)",
            "now transformer-lens *",
            "`--snapshot-update` accepts them as measured now",
            "FAILED test_it.py::test_task?planted-ioi? - Failed: logit_diff 8.750 -> 8.854*",
        ]
    )
    result.stdout.no_fnmatch_line("All traceback entries are hidden*")


def test_a_decision_must_match_exactly(accepted):
    edit(accepted, "test_task[planted-ioi]", bound="at least 3")
    result = accepted.runpytest()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["logit_diff: bound was 'at least 3', is 'at least 2'"])


def test_a_snapshot_that_was_deleted_fails_and_is_named(accepted):
    entries = json.loads(snapshot_file(accepted).read_text())
    del entries["test_task[planted-ioi]"]
    snapshot_file(accepted).write_text(json.dumps(entries))
    result = accepted.runpytest()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["test_task?planted-ioi? holds, but has no snapshot, though its weights are known"])


def test_the_same_weights_under_another_name_are_compared_with_their_numbers(accepted):
    entries = json.loads(snapshot_file(accepted).read_text())
    renamed = {name.replace("planted-ioi", "the-original"): entry for name, entry in entries.items()}
    snapshot_file(accepted).write_text(json.dumps(renamed))
    result = accepted.runpytest()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["planted-ioi: 4 supported"])
    edit(accepted, "test_task[the-original]", value=8.75)
    result = accepted.runpytest()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["logit_diff 8.750 -> 8.854 (moved +0.1, up to 0.0002 allowed)"])


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
    accepted.makepyfile(test_it=TASK_AND_COPIES.replace("at_least=2", "at_least=99"))
    for arguments in ([], ["--snapshot-update"]):
        accepted.runpytest(*arguments).assert_outcomes(passed=3, failed=1)
        assert json.loads(snapshot_file(accepted).read_text()) == json.loads(before)


@pytest.mark.parametrize("arguments", [["-x"], []])
def test_a_claim_that_never_ran_keeps_its_snapshot(accepted, arguments):
    before = json.loads(snapshot_file(accepted).read_text())
    broken = "import pytest\n@pytest.fixture\ndef broken(): raise RuntimeError\n" + TASK_AND_COPIES
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
    result.stdout.fnmatch_lines(["1 verdict now, 2 in the snapshot"])


def moved(project, **change):
    """Snapshots of all claims as if they had been taken on other prompts, of the same choices."""
    entries = json.loads(snapshot_file(project).read_text())
    for entry in entries.values():
        entry["records"][0]["data_hash"] = "another"
        entry.update(change)
    snapshot_file(project).write_text(json.dumps(entries))
    return entries


THREE = """
import pytest
from pytest_interp import assert_accuracy, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

def test_task(ioi):
    assert_logit_diff(ioi, at_least=2)

def test_again(ioi):
    assert_accuracy(ioi, at_least=0.9)

def test_of_others(ioi_find):
    assert_logit_diff(ioi_find, at_least=2)
"""


@pytest.mark.parametrize("workers", [[], ["-n2"]])
def test_prompts_that_are_others_by_the_same_choices_fail_the_run_in_one_line(claims_project, workers):
    claims_project.makepyfile(test_it=THREE)
    claims_project.runpytest("--snapshot-update").assert_outcomes(passed=3)
    entries = moved(claims_project, taken_with=f"device cpu, dtype float32, torch {version('torch')}, transformers 1.0")
    result = claims_project.runpytest_subprocess(*workers) if workers else claims_project.runpytest()
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = " ".join(result.stdout.str().split())
    assert "planted-ioi: 3 supported, 3 other prompts" in text
    for data in ("ioi/confirm, 2 claims", "ioi/find, 1 claim"):
        assert text.count(f"other prompts {data} not compared: data_hash was another, is ") == 1
    differs = f"; transformers was 1.0, is {version('transformers')}; the run fails, `--snapshot-update` accepts them"
    assert text.count(differs) == 2
    assert json.loads(snapshot_file(claims_project).read_text()) == entries


def test_what_is_known_of_other_prompts(accepted):
    for change, words in (
        ({}, "the versions are the same"),
        ({"taken_with": None}, "does not say with which versions"),
    ):
        entries = moved(accepted, **change)
        for entry in entries.values():
            if entry["taken_with"] is None:
                del entry["taken_with"]
        snapshot_file(accepted).write_text(json.dumps(entries))
        result = accepted.runpytest("-k", "task")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert words in " ".join(result.stdout.str().split())


def test_chosen_prompts_are_said_in_one_line(accepted):
    result = accepted.runpytest("--interp-prompts", "24")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["  other prompts    ioi/confirm, 1 claim not compared: n was 96, is 24"])


def test_an_entry_says_with_what_it_was_taken(accepted):
    entries = json.loads(snapshot_file(accepted).read_text())
    (said,) = {entry["taken_with"] for entry in entries.values()}
    names = ("transformer-lens", "transformers", "tokenizers", "torch")
    assert said == ", ".join(["device cpu", "dtype float32", *(f"{name} {version(name)}" for name in names)])
    # Entries from before are compared, and written anew with --snapshot-update; others are as they were taken.
    older = {name: {key: entry[key] for key in ("fingerprint", "records")} for name, entry in entries.items()}
    task = "test_task[planted-ioi]"
    mixed = {**entries, task: older[task], "test_copies[planted-ioi-3.0]": {**entries[task], "taken_with": "torch 1"}}
    mixed["test_copies[planted-ioi-3.0]"]["records"] = entries["test_copies[planted-ioi-3.0]"]["records"]
    snapshot_file(accepted).write_text(json.dumps(mixed))
    assert accepted.runpytest().ret == 0
    assert json.loads(snapshot_file(accepted).read_text()) == mixed
    assert accepted.runpytest("--snapshot-update").ret == 0
    after = json.loads(snapshot_file(accepted).read_text())
    assert after[task] == entries[task]
    assert after["test_copies[planted-ioi-3.0]"]["taken_with"] == "torch 1"


def test_an_expected_failure_that_passes_is_the_news_with_or_without_a_snapshot(accepted):
    path = accepted.path / "circuits" / "planted-ioi.toml"
    path.write_text(
        f"{path.read_text()}\n[[expected_failures]]\nclaim = 'test_it.py::test_task'\nreason = 'measured'\n"
    )
    result = accepted.runpytest("-k", "task")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*XPASS(strict)*measured*"])
    # A mistake in the claim is no expected failure.
    accepted.makepyfile(test_it=TASK_AND_COPIES.replace("at_least=2", "at_leest=2"))
    accepted.runpytest("-k", "task").assert_outcomes(failed=1)


def test_a_claim_that_is_gone_loses_its_snapshot_on_update(accepted):
    accepted.makepyfile(test_it=TASK_AND_COPIES.replace("def test_task", "def test_other_task"))
    result = accepted.runpytest("--snapshot-update")
    result.assert_outcomes(passed=4)
    assert "test_task[planted-ioi]" not in json.loads(snapshot_file(accepted).read_text())


GONE = object()
BROKEN_FILES = {
    "{": " is not a valid snapshot file",
    "[" * 100_000: " is not a valid snapshot file",
    "[1]": " is not a snapshot file of pytest-interp",
    '{"a": 1}': ": a is 1; it must be a table of fingerprint and records",
    '{"a": {"fingerprint": 1, "records": []}}': ": a: fingerprint is 1; it must be a text",
    '{"a": {"fingerprint": "f", "taken_with": 1, "records": []}}': ": a: taken_with is 1; it must be a text",
    '{"a": {"fingerprint": "f", "records": {}}}': ": a: records is {}; it must be a list of tables",
    '{"a": {"fingerprint": "f", "records": [1]}}': ": a: records[0] is 1; it must be a table",
    '{"a": {"fingerprint": "f", "fingerprint": "g"}}': " is not a valid snapshot file (it has 'fingerprint' twice)",
}
BROKEN_RECORDS = [
    ("value", GONE, "records[0] has no value"),
    ("tolerance", GONE, "records[0] has no tolerance"),
    ("quantity", GONE, "records[0] has no quantity"),
    ("value", "8.85", "records[0].value is '8.85'; it must be a finite number"),
    ("value", True, "records[0].value is True; it must be a finite number"),
    ("tolerance", -1, "records[0].tolerance is -1; it must be a finite number that is not negative"),
    ("n", 0, "records[0].n is 0; it must be a whole number of at least 1"),
    ("outcome", "fine", "records[0].outcome is 'fine'; it must be one of supported, refuted"),
    ("heads", "3.0", "records[0].heads is '3.0'; it must be a list of texts"),
    ("decisions", ["3.0"], "records[0].decisions is ['3.0']; it must be a table of texts"),
    ("bos", 1, "records[0].bos is 1; it must be true, false or null"),
    ("data_seed", "0", "records[0].data_seed is '0'; it must be a whole number or null"),
]


def test_a_file_that_is_not_valid_is_named_and_kept(accepted):
    name = "test_task[planted-ioi]"
    path = snapshot_file(accepted)
    whole = json.loads(path.read_text())

    def changed(field, value):
        record = {key: value for key, value in {**whole[name]["records"][0], field: value}.items() if value is not GONE}
        return json.dumps({**whole, name: {**whole[name], "records": [record]}})

    broken_files = {
        **BROKEN_FILES,
        changed("value", float("nan")): " is not a valid snapshot file (NaN is no number of JSON)",
        changed("value", 1).replace('"value": 1}', '"value": 1e999}'): ".value is inf; it must be a finite",
        **{changed(field, value): f": {name}: {message}" for field, value, message in BROKEN_RECORDS},
    }
    for text, message in broken_files.items():
        path.write_text(text)
        with pytest.raises(UsageError) as refused:
            read_file(path)
        assert message in str(refused.value)
        assert "restore it, or delete it and run --snapshot-update" in str(refused.value)
    # Any such file ends a run, also one that would write it, and is left as it was.
    for text in (changed("n", 0), "{"):
        path.write_text(text)
        for arguments in ([], ["--snapshot-update"]):
            result = accepted.runpytest("-k", "task", *arguments)
            assert result.ret == pytest.ExitCode.TESTS_FAILED
            result.stdout.fnmatch_lines(["*test_it.json*restore it, or delete it and run --snapshot-update*"])
            assert path.read_text() == text


def test_a_folder_in_the_place_of_a_file_is_named(project):
    snapshot_file(project).mkdir(parents=True)
    for arguments in ([], ["--snapshot-update"]):
        result = project.runpytest("-k", "task", *arguments)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*test_it.json is a folder, where the snapshot file should be; move it away*"])


@pytest.mark.parametrize("missing", ["data_hash", "data_seed", "bos", "n", "bound", "heads"])
def test_a_field_that_is_missing_is_a_difference(accepted, missing):
    entries = json.loads(snapshot_file(accepted).read_text())
    del entries["test_task[planted-ioi]"]["records"][0][missing]
    snapshot_file(accepted).write_text(json.dumps(entries))
    result = accepted.runpytest("-k", "task")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"logit_diff: the snapshot has no {missing}"])


def test_values_that_are_missing_match_nothing(accepted):
    entries = json.loads(snapshot_file(accepted).read_text())
    for field in ("value", "tolerance"):
        del entries["test_task[planted-ioi]"]["records"][0][field]
    snapshot_file(accepted).write_text(json.dumps(entries))
    result = accepted.runpytest("-k", "task")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*logit_diff: the snapshot has no value"])


def test_a_stored_tolerance_is_one_that_the_tool_may_have_written(accepted):
    stored = json.loads(snapshot_file(accepted).read_text())["test_task[planted-ioi]"]["records"][0]["value"]
    edit(accepted, "test_task[planted-ioi]", value=stored + 100, tolerance=1e9)
    result = accepted.runpytest("-k", "task")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["logit_diff: a tolerance of 1e+09 is stored, and none above 0.5 is ever written"])
    # That of the coarsest precision is: the number was accepted in it.
    edit(accepted, "test_task[planted-ioi]", value=stored + 0.4, tolerance=0.5)
    accepted.runpytest("-k", "task").assert_outcomes(passed=1)


def test_a_share_may_have_been_a_close_call_elsewhere():
    def entry(tolerance, value=1.0):
        row = {"quantity": "accuracy", "outcome": "supported", "bound": "at least 0.5", "n": 24}
        return {"fingerprint": "f", "records": [{**row, "value": value, "tolerance": tolerance}]}

    assert differences(entry(1e-9), entry(3 / 24 + 1e-9, 22 / 24)) == []
    assert differences(entry(1e-9), entry(3 / 24 + 1e-9, 20 / 24))
    assert differences(entry(1e-9), entry(1.0, 0.1)) == [
        "accuracy: a tolerance of 1 is stored, and none above 0.5 is ever written"
    ]


def test_a_full_disk_leaves_what_was_and_is_said(accepted, monkeypatch):
    before = snapshot_file(accepted).read_text()
    accepted.makepyfile(test_it=TASK_AND_COPIES.replace("at_least=2", "at_least=3"))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pytest_interp.snapshots.snapshot_file.write_whole", full)
        result = accepted.runpytest("--snapshot-update")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["interp: snapshots not written: *test_it.json is as it was (No space left on device)"])
    assert snapshot_file(accepted).read_text() == before
    assert [path.name for path in snapshot_file(accepted).parent.iterdir()] == ["test_it.json"]
    # Said of the run that it happened in.
    result = accepted.runpytest("--snapshot-update")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*not written*")


def test_a_limit_on_file_sizes_is_a_full_disk_too(tmp_path):
    pytest.importorskip("resource")
    path = tmp_path / "s.json"
    path.write_text("{}")
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom pytest_interp.snapshots import snapshot_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "entry = {'fingerprint': 'f' * 1000, 'records': []}\n"
        "snapshot_file.change_file(Path(sys.argv[1]), lambda entries: {**entries, 'a': entry})\n"
        "print(*snapshot_file.say_unwritten())\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout == f"snapshots not written: {path} is as it was (File too large)\n"
    assert path.read_text() == "{}"
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]


def test_several_processes_lose_no_entry(tmp_path):
    """Each adds entries of its own and takes some out again, in the file that all of them update."""
    path = tmp_path / "s.json"
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from syrupy.data import Snapshot, SnapshotCollection\n"
        "from pytest_interp.snapshots.extension import MeasurementSnapshotExtension as Extension\n"
        # What another process writes between reading and writing would be lost.
        "import time\nfrom pytest_interp.snapshots import snapshot_file as module\nread = module.read_file\n"
        "module.read_file = lambda path: (read(path), time.sleep(0.005))[0]\n"
        'data = \'{"fingerprint": "f", "records": []}\'\n'
        "for i in range(20):\n"
        "    names = [f'{sys.argv[2]}-{i}-{j}' for j in range(2)]\n"
        "    collection = SnapshotCollection(location=sys.argv[1])\n"
        "    [collection.add(Snapshot(name=name, data=data)) for name in names]\n"
        "    Extension.write_snapshot_collection(snapshot_collection=collection)\n"
        "    Extension().delete_snapshots(snapshot_location=sys.argv[1], snapshot_names={names[1]})\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(number)]) for number in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert set(read_file(path)) == {f"{number}-{i}-0" for number in range(4) for i in range(20)}
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]


def test_updating_is_refused_with_workers(project):
    result = project.runpytest_subprocess("--snapshot-update", "-n2")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*--snapshot-update does not go with -n*leave out -n*"])


def test_nothing_is_half_written(tmp_path, monkeypatch):
    path = tmp_path / "s.json"
    write_file(path, {"a": {"fingerprint": "f", "records": []}})
    with pytest.raises(TypeError):
        write_file(path, {"a": {"fingerprint": "f", "records": [object()]}})
    assert read_file(path) == {"a": {"fingerprint": "f", "records": []}}
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]


def test_the_extension_serves_ordinary_tests_too(pytester):
    pytester.makepyfile(
        """
        from pytest_interp.snapshots.extension import MeasurementSnapshotExtension

        def test_it(snapshot):
            row = {"quantity": "probe", "outcome": "supported", "value": 0.5, "tolerance": 0.01}
            assert {"fingerprint": "f", "records": [row]} == snapshot.use_extension(MeasurementSnapshotExtension)
        """
    )
    pytester.runpytest("--snapshot-update").assert_outcomes(passed=1)
    pytester.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize("place", ["ClaimRun.left_behind", "ClaimRun.unfounded", "Comparison.compare"])
def test_an_interrupt_between_the_last_claim_and_its_snapshot_deletes_no_entry(accepted, place):
    before = json.loads(snapshot_file(accepted).read_text())
    accepted.makeconftest(f"""
        from pytest_interp.plugin.claim_run import ClaimRun
        from pytest_interp.snapshots.compare import Comparison
        calls, usual = [], {place}
        def interrupted(*arguments, **named):
            calls.append(arguments)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return usual(*arguments, **named)
        {place} = interrupted
    """)
    result = accepted.inline_run("--snapshot-update", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert json.loads(snapshot_file(accepted).read_text()) == before
