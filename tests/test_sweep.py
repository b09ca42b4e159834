"""``pytest-interp sweep``: a job for each checkpoint, here and on a stub of SLURM."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from models import CLAIMS, random_gpt2

from pytest_interp import cli
from pytest_interp.errors import UsageError
from pytest_interp.ledger.ledger import read
from pytest_interp.machines.jobs import executor_of, judged

pytest.importorskip("submitit")

CLAIM = """
import pytest
from pytest_interp import assert_logit_diff

@pytest.mark.claim(source="a paper")
def test_task(ioi):
    assert_logit_diff(ioi, at_least=2)
"""


@pytest.fixture
def project(tmp_path, tokenizer, monkeypatch):
    """A folder with a claim, a model and a broken one."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "circuits").mkdir()
    circuit = (CLAIMS / "circuits" / "planted-ioi.toml").read_text()
    circuit = "\n".join(text for text in circuit.splitlines() if not text.startswith("fingerprint"))
    (tmp_path / "circuits" / "planted-ioi.toml").write_text(circuit)
    (tmp_path / "test_it.py").write_text(CLAIM)
    for name in ("mine", "broken"):
        random_gpt2(tokenizer).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    weights = tmp_path / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    return tmp_path


def command(*arguments):
    return [sys.executable, "-m", "pytest_interp.cli", "sweep", *arguments]


def sweep(folder, *arguments, **environment):
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


ALL = ("planted-ioi", "broken", "./mine", "-o", "out", "--claims", "test_it.py", "--interp-prompts", "24")


def test_three_checkpoints_one_of_them_broken(project):
    done = sweep(project, *ALL)
    assert done.returncode == 1, done.stdout + done.stderr
    planted, broken, mine, whole = done.stdout.splitlines()
    out = project / "out"
    assert planted == f"planted-ioi: 1 supported: {out}/planted-ioi.json"
    assert broken.startswith("broken: FAILED: no claim was judged (")
    assert "is no whole safetensors file" in broken
    log = broken.rpartition("; log: ")[2]
    assert "safetensors" in Path(log).read_text()
    assert mine == f"mine: 1 inconclusive: {out}/mine.json"
    assert whole == f"2 claims of 2 checkpoints: {out}/all.json"
    assert "1 of 3 failed" in done.stderr
    assert {claim.checkpoint for claim in read(out / "all.json").claims} == {"planted-ioi", "mine"}
    # Again: what is there is not run; the one that is mended is.
    before = (out / "planted-ioi.json").read_bytes()
    (project / "broken" / "model.safetensors").write_bytes((project / "mine" / "model.safetensors").read_bytes())
    done = sweep(project, *ALL)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"planted-ioi: {out}/planted-ioi.json is there already (--again runs it again)"
    assert lines[2:] == [f"broken: 1 inconclusive: {out}/broken.json", f"3 claims of 3 checkpoints: {out}/all.json"]
    assert (out / "planted-ioi.json").read_bytes() == before
    # Other options are another question.
    done = sweep(project, "planted-ioi", *ALL[3:], "--interp-seed", "1")
    assert done.stdout.startswith("planted-ioi: 1 supported: ")
    assert read(out / "planted-ioi.json").run.seed == 1


def test_a_name_that_is_none_and_an_option_that_is_none(project):
    done = sweep(project, "plantd-ioi", "planted-ioi", *ALL[3:])
    assert done.returncode == 1
    first, second, _ = done.stdout.splitlines()
    assert first.startswith("plantd-ioi: FAILED: was refused by pytest (unknown checkpoint 'plantd-ioi'")
    assert second.startswith("planted-ioi: 1 supported")
    done = sweep(project, "planted-ioi", *ALL[3:], "-k", "nothing_has_this_name")
    assert done.stdout.startswith("planted-ioi: FAILED: collected no claim; log: ")


def test_a_job_that_is_killed_is_reported_and_runs_again(project):
    conftest = project / "conftest.py"
    conftest.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = sweep(project, "planted-ioi", *ALL[3:])
    assert done.returncode == 1
    (text,) = done.stdout.splitlines()
    assert text.startswith("planted-ioi: FAILED: its job died; wrote no ledger; log: ")
    conftest.unlink()
    done = sweep(project, "planted-ioi", *ALL[3:])
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_interrupt_cancels_the_jobs(project, heeded_interrupts):
    (project / "conftest.py").write_text("import pathlib, time\npathlib.Path('began').touch()\ntime.sleep(60)\n")
    process = subprocess.Popen(
        command("planted-ioi", *ALL[3:]), cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 100
    while not (project / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted, jobs are cancelled; the same command runs what is left" in errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a", "-o", "out", "b"), "'b' stands apart from the models; name all models first"),
        (("a", "a", "-o", "out"), "two ledgers would be a.json"),
        (("all", "-o", "out"), "two ledgers would be all.json"),
        (("a", "-o", "out", "--interp-ledger", "b"), "--interp-ledger is set for each model"),
        (("a", "-o", "out", "--interp-model=b"), "--interp-model=b is set for each model"),
        (("a", "-o", "out", "--jobs", "0"), "--jobs is 0; pass at least 1"),
        (("a", "-o", "out", "--slurm", "partition"), "--slurm 'partition' is not KEY=VALUE"),
        (("a", "-o", "out", "--slurm", "mem=1G"), "--slurm is for --executor slurm"),
        (
            ("a", "-o", "out", "--executor", "slurm", "--slurm", "time=1:00"),
            "--slurm time=1:00 is no number of minutes",
        ),
        (("a", "-o", "out", "--executor", "slurm"), "there is no SLURM here: srun is not on the PATH"),
    ],
)
def test_wrong_command_lines(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["sweep", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_further_options_are_an_error_of_the_other_commands(capsys):
    assert cli.main(["merge", "a.json", "-o", "b.json", "--interp-prompts", "24"]) == 2
    assert "unrecognized arguments: --interp-prompts 24" in capsys.readouterr().err


def test_without_submitit_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"sweep needs submitit: pip install 'pytest-interp\[sweep\]'"):
        executor_of("local", tmp_path, {})


def test_a_ledger_that_is_cut_off_counts_as_none(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"claims": [')
    ledger, reason = judged(path)
    assert ledger is None
    assert "is not JSON" in reason


SEES = """
import os
from pathlib import Path

def test_it():
    Path(f"seen{os.getpid()}").write_text(str(os.environ.get("CUDA_VISIBLE_DEVICES")))
"""


@pytest.mark.parametrize(
    ("visible", "jobs", "seen"),
    [
        ("4,5", "2", ["4", "5"]),
        pytest.param("4,5", "1", ["4,5", "4,5"], marks=pytest.mark.thorough),
        pytest.param("-1", "1", ["-1", "-1"], marks=pytest.mark.thorough),
    ],
)
def test_local_jobs_share_the_callers_gpus(project, visible, jobs, seen):
    (project / "test_it.py").write_text(SEES)
    sweep(project, "a", "b", *ALL[3:7], "--jobs", jobs, CUDA_VISIBLE_DEVICES=visible)
    assert sorted(path.read_text() for path in project.glob("seen*")) == seen


# ---- SLURM, as far as shell scripts show it

SBATCH = """#!/bin/bash
# Runs the script in the background, as job 100 and on.
id=$(( 100 + $(ls "$STUB" | grep -c '^job') ))
cp "$1" "$STUB/job$id"
( SLURM_JOB_ID=$id SLURM_JOBID=$id SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 SLURM_JOB_NODELIST=here SLURM_NODEID=0 \\
  SLURM_PROCID=0 SLURM_LOCALID=0 bash "$STUB/job$id"; touch "$STUB/ended$id" ) > /dev/null 2>&1 &
echo "Submitted batch job $id"
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do
  [[ $1 == --output ]] && { log=${2//%j/$SLURM_JOB_ID}; log=${log//%t/0}; }
  [[ $1 == --output || $1 == --error ]] && shift
  shift
done
exec "$@" >> "$log" 2>&1
"""
SQUEUE = """#!/bin/bash
id=${@: -1}
[[ -e $STUB/ended$id ]] || echo "$id RUNNING"
"""
SACCT = """#!/bin/bash
[[ -e $STUB/no_accounts ]] && { echo "Slurm accounting storage is disabled" >&2; exit 1; }
echo "JobID|State|NodeList"
for job in "$STUB"/job*; do
  id=${job##*job}
  if [[ -e $STUB/ended$id ]]; then echo "$id|OUT_OF_MEMORY|here"; else echo "$id|RUNNING|here"; fi
done
"""


@pytest.fixture
def slurm(tmp_path):
    """The environment with a stub of SLURM on the path; its jobs are files of the folder ``STUB``."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "stub").mkdir()
    for name, text in {
        "sbatch": SBATCH,
        "srun": SRUN,
        "squeue": SQUEUE,
        "sacct": SACCT,
        "scancel": "#!/bin/sh\n",
    }.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "STUB": str(tmp_path / "stub")}


def test_on_slurm(project, slurm):
    done = sweep(project, "planted-ioi", "./mine", *ALL[3:], "--executor", "slurm", "--slurm", "partition=small",
                 "--slurm", "gpus-per-node=1", "--slurm", "time=7", **slurm)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    out = project / "out"
    assert sorted(done.stdout.splitlines()) == [
        f"2 claims of 2 checkpoints: {out}/all.json",
        f"mine: 1 inconclusive: {out}/mine.json",
        f"planted-ioi: 1 supported: {out}/planted-ioi.json",
    ]
    script = (project / "stub" / "job100").read_text()
    for option in ("--partition=small", "--gpus-per-node=1", "--time=7", "--job-name=pytest-interp"):
        assert f"#SBATCH {option}\n" in script


@pytest.mark.parametrize("accounts", [pytest.param(True, marks=pytest.mark.thorough), False])
def test_a_job_that_slurm_kills(project, slurm, accounts):
    if not accounts:
        (project / "stub" / "no_accounts").touch()
    (project / "conftest.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = sweep(project, "planted-ioi", *ALL[3:], "--executor", "slurm", **slurm)
    assert done.returncode == 1
    state = ", OUT_OF_MEMORY" if accounts else ""
    assert done.stdout.startswith(f"planted-ioi: FAILED: its job died{state}; wrote no ledger; log: ")
