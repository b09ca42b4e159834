"""What the plugin is told to write: where it may, where it may not, and that pytest's own settings stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_interp.common.files import check_writable, locked, make_cache, write_whole
from pytest_interp.errors import UsageError

CLAIM = """
import pytest
from pytest_interp import assert_logit_diff

@pytest.mark.claim(source="a paper")
def test_task(ioi):
    assert_logit_diff(ioi, at_least=2)
"""


@pytest.fixture
def project(claims_project):
    claims_project.makepyfile(test_it=CLAIM)
    claims_project.makeini("[pytest]\naddopts = -v\ninterp_prompts = 24\n")
    return claims_project


# ---- where files go


@pytest.mark.parametrize("content", [".gitignore", "notes.txt"])
def test_a_folder_with_other_content_is_no_cache(project, content):
    (project.path / content).write_text("mine\n")
    result = project.runpytest("--interp-cache", ".")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --interp-cache is *, which has other content (*) and would be marked*"])
    assert (project.path / content).read_text() == "mine\n"
    assert not (project.path / "CACHEDIR.TAG").exists()


def test_a_folder_is_a_cache_where_it_is_new_or_empty_or_one_already(tmp_path):
    for folder in (tmp_path / "new" / "deep", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        for _ in range(2):
            make_cache(folder)
            (folder / "ab").mkdir(exist_ok=True)
        assert {path.name for path in folder.iterdir()} == {"CACHEDIR.TAG", ".gitignore", "ab"}
    # Another tool's cache, or a folder that only looks like one.
    (tmp_path / "empty" / "debug").mkdir()
    (tmp_path / "unmarked" / "ab").mkdir(parents=True)
    for folder in ("empty", "unmarked"):
        with pytest.raises(UsageError, match="has other content"):
            make_cache(tmp_path / folder)


def test_a_device_is_written_to_and_stays(tmp_path):
    """A terminal of the test's own: a fault would replace one like /dev/null for the whole machine."""
    master, slave = os.openpty()
    device = Path(os.ttyname(slave))
    try:
        (tmp_path / "link").symlink_to(device)
        check_writable(tmp_path / "link", "--interp-ledger")
        write_whole(tmp_path / "link", "whole")
        assert os.read(master, 100) == b"whole"
        assert device.is_char_device()
        assert [path.name for path in tmp_path.iterdir()] == ["link"]
    finally:
        os.close(master)
        os.close(slave)


def test_records_go_through_links_and_into_the_output(project):
    target = project.path / "deep" / "target.json"
    target.parent.mkdir()
    (project.path / "link.json").symlink_to(target)
    for path in ("link.json", "made/up/run.json"):
        result = project.runpytest("--interp-ledger", path)
        assert result.ret == 0
    assert (project.path / "link.json").is_symlink()
    assert '"complete": true' in target.read_text()
    assert (project.path / "made" / "up" / "run.json").is_file()
    result = project.runpytest_subprocess("--interp-ledger", "/dev/stdout")
    assert result.ret == 0
    result.stdout.fnmatch_lines(['*"complete": true,*'])


def test_records_that_cannot_be_written_are_refused_before_the_work(project):
    (project.path / "file").write_text("mine")
    os.mkfifo(project.path / "pipe")
    for path, reason in (
        ("pipe", "which is no ordinary file"),
        ("file/run.json", "which cannot be written"),
        ("/proc/none/run.json", "which cannot be written"),
        ("file", "a file that is no ledger and would be replaced"),
    ):
        result = project.runpytest("--interp-ledger", path)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: --interp-ledger is *, *{reason.removeprefix('which ')}*"])
        assert "collected" not in result.stdout.str()
    assert (project.path / "file").read_text() == "mine"


def test_files_keep_their_permissions_and_leave_no_parts_of_the_dead(tmp_path):
    path = tmp_path / "s.json"
    write_whole(path, "1")
    path.chmod(0o600)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom pytest_interp.common import files\n"
        "files.os.fdopen = lambda *a, **k: (print('open', flush=True), sys.stdin.read(), os._exit(1))\n"
        "files.write_whole(Path(sys.argv[1]), '2')\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "open\n"
    (part,) = tmp_path.glob("*.part") or tmp_path.glob(".*.part")
    write_whole(path, "3")
    assert part.exists(), "of a living process"
    writer.communicate()
    assert part.exists()
    write_whole(tmp_path / "another.json", "")
    (tmp_path / "another.json").unlink()
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]
    write_whole(path, "4")
    assert path.read_text() == "4"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_of_a_killed_process_is_none(tmp_path):
    path = tmp_path / "s.json"
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom pytest_interp.common.files import locked\n"
        "with locked(Path(sys.argv[1])): os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert (tmp_path / ".s.json.lock").exists()
    with locked(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_another_process_has_gets_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_interp.common.files.LOCK_SECONDS", 0.1)
    message = "is being written by another process"
    with locked(tmp_path / "s.json"), pytest.raises(UsageError, match=message), locked(tmp_path / "s.json"):
        pass


def test_a_path_that_can_be_written_is_left_as_it_is(tmp_path):
    check_writable(tmp_path / "new" / "run.json", "--interp-ledger")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_tilde_is_a_home_in_either_form(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project.path / "home"))
    result = project.runpytest("--interp-ledger=~/run.json", "--interp-cache=~/cache")
    assert result.ret == 0
    assert {path.name for path in (project.path / "home").iterdir()} == {"run.json", "cache"}
    assert not (project.path / "~").exists()


# ---- the rootdir


@pytest.mark.parametrize("form", ["{0} {1}", "{0}={1}", "test_it.py {0} {1}"])
@pytest.mark.parametrize("option", ["--interp-cache", "--interp-ledger", "--interp-model"])
def test_paths_of_options_do_not_move_the_rootdir(project, tmp_path_factory, tokenizer, option, form):
    place = tmp_path_factory.mktemp("elsewhere")
    if option == "--interp-ledger":
        place = place / "run.json"
        place.write_text("")
    project.makeconftest("def pytest_addoption(parser): parser.addoption('--mine')")
    arguments = form.format(option, place).split()
    # A folder without a model is refused, with the project's own settings and options known.
    result = project.runpytest("--mine", "1", *arguments, "--collect-only")
    said = result.stdout.str()
    assert f"rootdir: {project.path}" in said
    assert "configfile: tox.ini" in said
    if option != "--interp-model":
        result.stdout.fnmatch_lines(["interp: float32 on auto, seed 0, 24 prompts"])


def test_the_right_settings_are_read_in_full(project, tmp_path_factory):
    """Its addopts, its python path and its plugins; those of the wrong place are forgotten."""
    place = tmp_path_factory.mktemp("elsewhere")
    (place / "pytest.ini").write_text("[pytest]\naddopts = --maxfail=7\n")
    (project.path / "lib").mkdir()
    (project.path / "lib" / "brought.py").write_text("def pytest_report_header(): return 'brought along'")
    project.makeini("[pytest]\naddopts = -v -p brought --interp-seed 3\npythonpath = lib\ninterp_prompts = 24\n")
    project.makeconftest("def pytest_report_header(config): return f'maxfail {config.option.maxfail}'")
    result = project.runpytest_subprocess("--interp-cache", str(place / "cache"), "--collect-only")
    result.stdout.fnmatch_lines(["interp: float32 on auto, seed 3, 24 prompts"])
    (place / "cache").mkdir(exist_ok=True)
    result = project.runpytest_subprocess("--interp-cache", str(place / "cache"), "--collect-only")
    result.stdout.fnmatch_lines(["interp: float32 on auto, seed 3, 24 prompts"])
    result.stdout.fnmatch_lines(["brought along"])
    result.stdout.fnmatch_lines(["maxfail [N0]*"])  # 0 or None, by the version of pytest
