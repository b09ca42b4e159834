"""What a run says while it runs: how long it will take, what runs now; and that it leaves nothing behind."""

import re
import subprocess
import sys
from time import monotonic

import pytest
from models import on_a_terminal

from pytest_interp.plugin.live import Live, elapsed
from pytest_interp.plugin.pace import GUESS, rounded
from pytest_interp.plugin.session import Plan, session_of

SLOW = """
import time
import pytest
from pytest_interp import assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper")

def test_quick(ioi):
    assert_logit_diff(ioi, at_least=2)

def test_slow(ioi, capfd):
    print("heard")
    time.sleep(2)
    assert capfd.readouterr().out == "heard\\n", "what is said of the run is no output of the claim"
    assert_logit_diff(ioi, at_least=2)

def test_slow_too(ioi):
    time.sleep(1.5)
    assert_logit_diff(ioi, at_least=2)
"""
CONFTEST = """
import threading
from pytest_interp.plugin import live
live.QUIET, live.SOON, live.LOOK = 0.4, 0.2, 0.1

def pytest_unconfigure():
    assert not [thread for thread in threading.enumerate() if thread.name == "pytest-interp-live"]
"""
SAYING = re.compile(r"interp: (\d) of 3 claims, \d+ s, now (.*)")
DRAWN = re.compile(r"\x1bD\x1b\[A\x1b7\x1b\[B\r(interp: [^\x1b]*)\x1b\[K\x1b8")
TAKEN_AWAY = "\x1b7\x1b[B\r\x1b[2K\x1b8"


@pytest.fixture
def project(claims_project):
    claims_project.makepyfile(test_it=SLOW)
    claims_project.makeconftest(CONFTEST)
    return claims_project


def run(project, *arguments, **more):
    result = project.runpytest_subprocess("--interp-prompts", "24", *arguments)
    result.assert_outcomes(passed=3)
    assert result.ret == 0
    assert result.stderr.str() == ""
    return result.outlines


def test_a_log_gets_a_line_wherever_pytest_is_silent(project):
    lines = run(project)
    said_now = [match for match in map(SAYING.fullmatch, lines) if match]
    assert ("0", "loading planted-ioi") in [match.groups() for match in said_now]
    assert ("1", "test_slow") in [match.groups() for match in said_now]
    assert ("2", "test_slow_too") in [match.groups() for match in said_now]
    # Each letter stands once, in the column where it would have stood.
    columns = [line for line in lines if line.startswith("test_it.py ")]
    assert [line.rstrip().removesuffix("[100%]").rstrip() for line in columns if line.strip() != "test_it.py"] == [
        "test_it.py .",
        "test_it.py  .",
        "test_it.py   .",
    ]
    assert columns[-1].endswith("[100%]")
    assert {len(line) for line in columns if line.endswith("%]")} == {79}
    assert "" not in lines[lines.index(columns[0]) : lines.index(columns[-1])], "no empty lines between"


def test_verbose_lines_are_begun_again(project):
    lines = run(project, "-v")
    assert any(SAYING.fullmatch(line) for line in lines)
    for name in ("quick", "slow", "slow_too"):
        finished = [line for line in lines if line.startswith(f"test_it.py::test_{name}[planted-ioi] PASSED")]
        assert len(finished) == 1
        assert finished[0].endswith("%]")


def test_under_xdist_the_controller_says_it(project):
    lines = run(project, "-n", "1", "-v")
    (first,) = (line for line in lines if line.startswith("interp: 3 claims, about"))
    assert lines.index(first) < lines.index(next(line for line in lines if SAYING.fullmatch(line)))


@pytest.mark.parametrize(
    ("running", "named"),
    [
        (["test_it", "test_that"], "test_it, test_that"),
        (["test_" + "a" * 20, "test_" + "b" * 30], "test_" + "a" * 20 + " and 1 other"),
        (["test_" + "a" * 20, "test_b", "test_" + "c" * 20], "test_" + "a" * 20 + " and 2 others"),
        (["test_" + "a" * 40, "test_b"], "test_" + "a" * 40),
    ],
)
def test_the_tests_of_several_workers_stand_in_one_line(pytester, running, named):
    config = pytester.parseconfig()
    session_of(config).plan = Plan({f"test_it.py::{name}": "planted-ioi" for name in running})
    live = Live(config)
    live._started_at = monotonic()
    live._running = dict.fromkeys(f"test_it.py::{name}" for name in running)
    text = live._text()
    assert text.endswith(f" s, now {named}")
    assert len(text) <= 79


@pytest.mark.parametrize("arguments", [["-qq"], pytest.param(["-p", "no:terminal"], marks=pytest.mark.thorough)])
def test_who_wants_silence_has_it(project, arguments):
    result = project.runpytest_subprocess("--interp-prompts", "24", *arguments)
    assert result.ret == 0
    assert "interp:" not in result.stdout.str()
    assert result.stderr.str() == ""


def test_claims_asked_in_memory_say_nothing(project):
    project.makepyfile(
        ask="""
        import conftest
        from pytest_interp import check
        from pytest_interp.checkpoints.planted.rules import RULES
        from pytest_interp.checkpoints.planted.build import build_planted
        import tempfile
        from pathlib import Path
        model = build_planted(RULES, Path(tempfile.mkdtemp()))
        assert len(check(model, claims=[Path("test_it.py")], circuit="planted-ioi", prompts=24)) == 3
        """
    )
    done = project.runpython("ask.py")
    assert (done.ret, done.stdout.str()) == (0, ""), done.stderr.str()


def test_a_reader_who_leaves_is_no_obstacle(project):
    command = [sys.executable, "-m", "pytest", "--interp-prompts", "24"]
    going = subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    going.stdout.readline()
    going.stdout.close()
    going.wait(timeout=120)


def test_a_person_sees_a_line_that_is_gone_before_pytest_goes_on(project):
    seen = on_a_terminal(project, TERM="xterm")
    drawn = DRAWN.findall(seen)
    assert any("now test_slow" in line for line in drawn)
    assert any("now loading planted-ioi" in line for line in drawn)
    assert all(len(line) < 80 for line in drawn)
    # Whatever follows a drawn line is the same line again, or what takes it away.
    for rest in DRAWN.split(seen)[2::2]:
        assert rest == "" or rest.startswith(TAKEN_AWAY)
    assert "now test" not in DRAWN.sub("", seen)


@pytest.mark.parametrize(
    ("arguments", "variables"), [(["-s"], {}), pytest.param([], {"CI": "1"}, marks=pytest.mark.thorough)]
)
def test_where_others_write_or_nobody_looks_a_terminal_gets_lines(project, arguments, variables):
    seen = on_a_terminal(project, *arguments, **{"TERM": "xterm"} | variables)
    assert not DRAWN.search(seen)
    assert any(SAYING.fullmatch(line) for line in seen.splitlines())


def test_a_debugger_has_the_terminal_to_itself(project):
    project.makepyfile(test_it=SLOW.replace("time.sleep(1.5)", "breakpoint(); time.sleep(1.5)"))
    child = subprocess.run(
        [sys.executable, "-m", "pytest", "--interp-prompts", "24"], cwd=project.path, input="continue\n", text=True,
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    before, _, after = child.stdout.partition("PDB set_trace")
    assert SAYING.search(before)
    assert not SAYING.search(after)
    assert "3 passed" in after


def test_loading_is_said_after_a_moment_and_what_takes_long_by_its_name(monkeypatch, tmp_path):
    from pytest_interp.checkpoints.sources import gguf_file
    from pytest_interp.common.progress import activity, current_activity

    said_meanwhile = []

    def stop(*_, **__):
        said_meanwhile.append(current_activity())
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf_file, "_tensors_of", lambda _: {"weights": 134_515_008})
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", stop)
    with activity("loading x"), pytest.raises(KeyboardInterrupt):
        gguf_file._dequantise(tmp_path / "x.gguf", tmp_path / "kept" / "work")
    assert said_meanwhile == [f"dequantising 135 million weights, once, into {tmp_path / 'kept'}"]
    assert current_activity() == ""


def test_how_long_a_run_takes_is_what_it_took_the_last_time(claims_project):
    claims_project.makepyfile(test_it=SLOW)
    arguments = ("--interp-prompts", "24", "-k", "slow")
    first = claims_project.runpytest(*arguments)
    first.stdout.fnmatch_lines(["interp: 2 claims, about * (a guess: they have not run here yet)"])
    again = claims_project.runpytest(*arguments, "--collect-only")
    again.stdout.no_fnmatch_line("*claims, about*")
    more = claims_project.runpytest("--interp-prompts", "24")
    more.stdout.fnmatch_lines(["interp: 3 claims, about * second* (2 as last time, the rest a guess)"])
    whole = claims_project.runpytest("--interp-prompts", "24")
    whole.stdout.fnmatch_lines(["interp: 3 claims, about * second* (as last time here)"])
    claims_project.runpytest("--interp-prompts", "24", "--interp-falsify").stdout.fnmatch_lines(["*(a guess: *"])
    no_cache = claims_project.runpytest("--interp-prompts", "24", "-p", "no:cacheprovider", "-k", "quick")
    no_cache.stdout.fnmatch_lines(["interp: 1 claim, about * (a guess: *"])


def test_of_a_model_of_ones_own_nothing_is_guessed(claims_project):
    claims_project.makeconftest(
        """
        from pytest_interp import CheckpointSpec

        def pytest_interp_checkpoints(config):
            return [CheckpointSpec("mine", kind="planted", source="planted-ioi", bos=True, circuit="planted-ioi")]
        """
    )
    claims_project.makepyfile(test_it=SLOW)
    result = claims_project.runpytest("--interp-prompts", "24", "--interp-model", "mine", "-k", "quick")
    result.stdout.fnmatch_lines(["interp: 1 claim; how long, the first run here shows"])


@pytest.mark.parametrize("content", ["[]", "not json", '{"test_it.py::test_quick[planted-ioi]": "long"}'])
def test_a_damaged_memory_is_no_obstacle(claims_project, content):
    claims_project.makepyfile(test_it=SLOW)
    arguments = ("--interp-prompts", "24", "-k", "quick")
    claims_project.runpytest(*arguments)
    (file,) = (claims_project.path / ".pytest_cache" / "v" / "interp" / "seconds").iterdir()
    file.write_text(content)
    result = claims_project.runpytest(*arguments)
    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.fnmatch_lines(["interp: 1 claim, about * (a guess: *"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "about 1 second"), (7.4, "about 7 seconds"), (44, "about 40 seconds"), (200, "about 3 minutes")],
)
def test_durations_are_round(seconds, text):
    assert rounded(seconds) == text


def test_elapsed():
    assert (elapsed(9.9), elapsed(130.2)) == ("9 s", "2 min 10 s")
    assert set(GUESS) == {"planted-ioi", "smollm2-135m-instruct"}
