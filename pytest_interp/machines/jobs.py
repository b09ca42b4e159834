"""Runs of claims as jobs of submitit, on this machine or on a SLURM cluster; a ledger says how each of them ended.

submitit keeps a job's function, its log and its result in one folder, and is imported when an executor is made.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pytest_interp.errors import UsageError
from pytest_interp.ledger.ledger import Ledger, read
from pytest_interp.ledger.outcome import NO_FAILURE
from pytest_interp.machines.visible_devices import VARIABLE, callers_devices, share_of
from pytest_interp.text import counted, line

Cluster: TypeAlias = Literal["local", "slurm"]
"""Where jobs run."""
_A_MONTH = 30 * 24 * 60
"""The limit of a local job in minutes; submitit's own is two."""
_STATUSES = {2: "was interrupted", 3: "broke pytest", 4: "was refused by pytest", 5: "collected no claim"}
"""How a run ended, by the exit status of pytest."""
_UNJUDGED = (None, "error", "not checked", "not applicable")
_PAUSES: Mapping[Cluster, float] = {"local": 0.5, "slurm": 5}
"""Seconds between two looks at the jobs."""
_GRACE = 10
"""Seconds that files of another machine may take to appear here."""


@dataclass(frozen=True)
class Run:
    """The claims of one checkpoint, as a job.

    Attributes:
        name: of the checkpoint.
        ledger: the file that the run writes.
        arguments: of pytest.
    """

    name: str
    ledger: Path
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        run: the run.
        summary: how it ended, in one line.
        ledger: what it wrote; None where the run failed.
    """

    run: Run
    summary: str
    ledger: Ledger | None = None


def run_pytest(arguments: Sequence[str], environment: Mapping[str, str | None]) -> int:
    """Runs pytest in this process, which is that of a job, and returns its exit status.

    Args:
        arguments: of pytest.
        environment: variables that are set before; None removes one.
    """
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    import pytest

    return int(pytest.main(list(arguments)))


def executor_of(cluster: Cluster, folder: Path, settings: Mapping[str, str]) -> Any:
    """Returns an executor of submitit.

    Args:
        cluster: where jobs run.
        folder: for logs and results; on a cluster every machine has to see it.
        settings: options of ``sbatch`` by their long names; ``time`` in minutes.

    Raises:
        UsageError: submitit or SLURM is not here, or a setting cannot be used.
    """
    try:
        import submitit
    except ImportError:
        raise UsageError("sweep needs submitit: pip install 'pytest-interp[sweep]'") from None
    logging.getLogger("submitit").setLevel(logging.ERROR)  # it writes a line each time that sacct does not answer
    if cluster == "local":
        if settings:
            raise UsageError("--slurm is for --executor slurm")
        executor = submitit.LocalExecutor(folder)
        executor.update_parameters(timeout_min=_A_MONTH, stderr_to_stdout=True)
        return executor
    options = dict(settings)
    minutes = options.pop("time", "60")
    if not minutes.isdecimal() or not int(minutes):
        raise UsageError(f"--slurm time={minutes} is no number of minutes")
    try:
        executor = submitit.SlurmExecutor(folder)
    except RuntimeError:
        raise UsageError("there is no SLURM here: srun is not on the PATH; pass --executor local") from None
    executor.update_parameters(
        time=int(minutes), stderr_to_stdout=True, job_name="pytest-interp", additional_parameters=options
    )
    return executor


def ended_runs(runs: Sequence[Run], executor: Any, cluster: Cluster, at_once: int) -> Iterator[Ended]:
    """Yields each run as it ends; jobs that are left when the iteration stops are cancelled.

    Args:
        runs: in the order of their submission.
        executor: of submitit.
        cluster: where jobs run.
        at_once: how many jobs there are at a time.
    """
    waiting = list(runs)
    jobs: dict[int, tuple[Run, Any]] = {}
    try:
        while waiting or jobs:
            for slot in range(at_once):
                if slot not in jobs and waiting:
                    run = waiting.pop(0)
                    run.ledger.unlink(missing_ok=True)  # else a job that dies would seem to have written it
                    environment = _environment(slot, at_once) if cluster == "local" else {}
                    jobs[slot] = run, executor.submit(run_pytest, run.arguments, environment)
            for slot, (run, job) in list(jobs.items()):
                if job.done() or _has_left_the_queue(job, cluster):
                    del jobs[slot]
                    yield _ended(run, job, cluster)
            time.sleep(_PAUSES[cluster] if jobs else 0)
    finally:
        for _, job in jobs.values():
            job.cancel(check=False)


def judged(path: Path) -> tuple[Ledger | None, str]:
    """Returns the ledger of a run, and the number of claims by outcome.

    Args:
        path: of the ledger.

    Returns:
        None and the reason where there is no ledger, not every claim has ended, or errors are all that there is.
    """
    try:
        ledger = read(path)
    except UsageError as error:
        return None, str(error) if path.exists() else "wrote no ledger"
    if not ledger.run.is_complete:
        return None, f"ended after {ledger.run.ended} of {counted(ledger.run.collected, 'claim')}"
    counts = Counter(claim.finding or claim.outcome for claim in ledger.claims)
    if all(claim.finding in _UNJUDGED for claim in ledger.claims):
        errors = [claim.reason for claim in ledger.claims if claim.finding == "error"]
        if errors:
            return None, f"no claim was judged ({_shortened(errors[0].removeprefix('Failed: '))})"
        if not counts["not applicable"]:
            return None, "no claim ran"
    order = [*NO_FAILURE, *sorted(counts.keys() - set(NO_FAILURE))]
    return ledger, ", ".join(f"{counts[finding]} {finding}" for finding in order if counts[finding])


def _environment(slot: int, at_once: int) -> dict[str, str | None]:
    """The variables of a local job: its share of the GPUs and cores; submitit hides all GPUs from its jobs."""
    devices = callers_devices()
    share = share_of(devices, slot, max(1, len(devices) // at_once))
    environment = {VARIABLE: ",".join(share) if share else os.environ.get(VARIABLE)}
    if at_once > 1 and "OMP_NUM_THREADS" not in os.environ:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // at_once))
    return environment


def _has_left_the_queue(job: Any, cluster: Cluster) -> bool:
    """Whether a job is gone from a cluster that keeps no accounts, so that ``sacct`` does not say how jobs ended."""
    if cluster == "local" or job.state != "UNKNOWN":
        return False
    try:
        queue = subprocess.run(["squeue", "-h", "-j", str(job.job_id)], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return not queue.stdout.strip() and (queue.returncode == 0 or "Invalid job id" in queue.stderr)


def _has_result(job: Any, seconds: float) -> bool:
    """Whether a job has left a result, which may take some seconds to appear on a file system of several machines."""
    path, end = Path(job.paths.result_pickle), time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(1)
    return path.exists()


def _ended(run: Run, job: Any, cluster: Cluster) -> Ended:
    """Returns how a run ended, from its ledger, its exit status and the state of its job."""
    died = not _has_result(job, _GRACE if cluster == "slurm" else 0)
    ledger, summary = judged(run.ledger)
    if ledger is not None:
        return Ended(run, f"{summary}: {run.ledger}", ledger)
    log = Path(job.paths.stdout)
    if not died and job.exception() is None:
        status = job.result()
        if status in _STATUSES:
            summary = f"{_STATUSES[status]}{_reason_in(log)}"
    else:
        state = "" if job.state in ("FINISHED", "UNKNOWN") else f", {job.state}"
        summary = f"its job died{state}; {summary}"
    return Ended(run, f"FAILED: {summary}; log: {log}")


def _reason_in(log: Path) -> str:
    """The first error that pytest wrote, in brackets; empty without."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    reason = next((text.removeprefix("ERROR: ") for text in lines if text.startswith("ERROR: ")), "")
    return f" ({_shortened(reason)})" if reason else ""


def _shortened(reason: str) -> str:
    """A reason in one line, of a length that can be read."""
    return line(" ".join(reason.split()), 400)
