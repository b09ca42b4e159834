"""What a sweep asks of a device: how often it is waited for, how often blocks are called, and how much each asks for.

``pytest tests/engine/test_waiting.py -rP`` prints the number of operations.
"""

from collections import Counter

import pytest
from device_marks import marked_devices
from models import experiment_on, random_gpt2, random_llama

from pytest_interp import Checkpoint, CheckpointSpec
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.blocks import Blocks
from pytest_interp.measure import ablation_effect_sweep, patch_effect_sweep, path_patch_effect_sweep

SWEEPS = {
    "z at END": lambda e, layers: patch_effect_sweep(e, "z", at="END", layers=layers),
    "z at all positions": lambda e, layers: patch_effect_sweep(e, "z", layers=layers),
    "resid_pre": lambda e, layers: patch_effect_sweep(e, "resid_pre", layers=layers),
    "paths into queries": lambda e, layers: path_patch_effect_sweep(e, ["3.0", "3.1"], into="q", layers=layers),
    "paths into logits": lambda e, layers: path_patch_effect_sweep(e, "logits", layers=layers),
    "zero ablation": lambda e, layers: ablation_effect_sweep(e, ablation="zero", layers=layers),
}


@pytest.fixture(scope="module")
def counted():
    """An experiment on the stand-in of a device, and what was seen there."""
    with marked_devices() as seen:
        experiment = experiment_on(Checkpoint(known_specs()["planted-ioi"], device="cpu:0"), 8)
        with experiment.checkpoint.guard.isolated_memory():
            experiment.logit_diffs()  # from where passes can start is tried once for each length
        yield experiment, seen


def asked(counted, sweep, layers) -> tuple[Counter, Counter]:
    """What a sweep over layers makes the CPU wait for, and what the device computes."""
    experiment, seen = counted
    with experiment.checkpoint.guard.isolated_memory():
        waits, operations = seen.waits.copy(), seen.operations.copy()
        SWEEPS[sweep](experiment, layers)
        return seen.waits - waits, seen.operations - operations


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_gpu_is_waited_for_as_often_whatever_the_number_of_cells(counted, sweep):
    few, _ = asked(counted, sweep, [1])
    many, _ = asked(counted, sweep, [0, 1, 2])
    assert few == many
    assert sum(many.values()) <= 20, many


def test_each_block_is_called_once_for_each_length(gpt2_like, monkeypatch):
    """Every head of every layer joins one batch; so does every position of a stream, where calls cost as on a GPU."""
    experiment = experiment_on(gpt2_like, 8)
    calls: list[range] = []
    resume = Blocks.resume

    def counting(self, clean, rows, layers, start, **options):
        calls.append(range(layers[0], self.n_layers))
        return resume(self, clean, rows, layers, start, **options)

    experiment.logit_diffs()
    monkeypatch.setattr(Blocks, "resume", counting)
    monkeypatch.setattr(experiment.checkpoint.forward.blocks, "call_cost", 4000)
    for sweep in ("z at END", "z at all positions", "resid_pre"):
        calls.clear()
        with experiment.checkpoint.guard.measuring():
            SWEEPS[sweep](experiment, None)
        assert len([layers for layers in calls if len(layers) > 1]) == len(experiment.data.clean.groups), sweep


@pytest.mark.parametrize(("make", "most"), [(random_gpt2, 30), (random_llama, 50)])
def test_a_block_call_asks_for_few_operations(tokenizer, monkeypatch, make, most):
    """Of all operations of driven passes that are no views, edits included; TransformerLens's own hooks cost some."""
    calls, operations = 0, 0
    resume = Blocks.resume

    def counting(self, clean, rows, layers, start, **options):
        nonlocal calls, operations
        before = seen.operations.total()
        result = resume(self, clean, rows, layers, start, **options)
        last = self.n_layers - 1 if options.get("until") is None else options["until"]
        calls, operations = calls + last - layers[0] + 1, operations + seen.operations.total() - before
        return result

    spec = CheckpointSpec("small", loader=lambda: (make(tokenizer), tokenizer), bos=True)
    with marked_devices() as seen:
        experiment = experiment_on(Checkpoint(spec, device="cpu:0"), 8)
        with experiment.checkpoint.guard.measuring():
            experiment.logit_diffs()  # from where passes can start is tried once for each length
            monkeypatch.setattr(Blocks, "resume", counting)
            for sweep in ("z at END", "resid_pre"):
                SWEEPS[sweep](experiment, None)
    print(f"{operations / calls:.1f} operations for each block call of {make.__name__}")
    assert calls > 10
    assert operations / calls <= most
