"""Passes that start where a patch can first make a difference, against whole passes with hooks.

``pytest tests/engine/test_passes.py -rP`` prints the largest difference of any prompt.
"""

import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from models import experiment_on, random_gpt2

from pytest_interp import Checkpoint, CheckpointSpec, Experiment, Head
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.blocks import Blocks
from pytest_interp.checkpoints.device import Peak
from pytest_interp.checkpoints.forward import Forward
from pytest_interp.checkpoints.memo import Memo, budget_of, bytes_in, bytes_of, capacity_of, largest_batch
from pytest_interp.checkpoints.resume import CleanPass
from pytest_interp.checkpoints.rows import Rows
from pytest_interp.engine import batches
from pytest_interp.engine.base import edited
from pytest_interp.engine.batches import GroupPasses
from pytest_interp.engine.metric import Metric
from pytest_interp.engine.passes import patched
from pytest_interp.engine.patch import Node, Patch, ablated, from_run
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    ablation_effect,
    backup_effect,
    completeness,
    faithfulness,
    minimality,
    patch_effect_sweep,
    path_patch_effect,
)
from pytest_interp.measure.circuit import kept_effect
from pytest_interp.tasks.protocols import answer_and_distractor_exchanged, end_one_earlier

WAYS = {
    "planted": "layer",  # TransformerLens's native model takes no key-value cache
    "planted-gqa": "layer",
    "gpt2_like": "position",
    "llama_like": "position",
    "neox_like": "position",
    "smollm2": "position",
}


@pytest.fixture(scope="module", params=WAYS)
def experiment(request):
    if request.param == "planted-gqa":
        return experiment_on(Checkpoint(known_specs()["planted-gqa"]))
    checkpoint = request.getfixturevalue(request.param)
    return experiment_on(checkpoint, n=2 if request.param == "smollm2" else 24)


@pytest.fixture
def whole(monkeypatch):
    """Runs what it is given by whole passes."""

    def run(experiment, measure):
        def clean_pass(self, tokens, keep=()):
            logits, activations = self.run(tokens, keep=keep)
            return CleanPass((), logits, {}, "whole", activations)

        with monkeypatch.context() as patch, experiment.checkpoint.guard.isolated_memory():
            patch.setattr(Forward, "clean_pass", clean_pass)
            return measure()

    return run


def agree(experiment, what, fast, slow, bound=1e-4):
    fast, slow = torch.as_tensor(fast), torch.as_tensor(slow)
    largest = float((fast - slow).abs().max())
    print(f"{experiment.checkpoint.name}: {what}: {largest:.1e} of {float(slow.abs().max()):.3g}")
    assert largest <= bound * max(1, float(slow.abs().max()))
    return largest


def jobs_of(experiment, run):
    """Patches of every site, of one node and of several in several layers, at some positions and at all."""
    shape = experiment.checkpoint.shape
    first, last = 0, shape.n_layers - 1
    middle = last // 2
    other = "s2-exchanged" if run == "clean" else "clean"
    nodes = [
        *((Node(site, layer, 1, at),) for site in ("z", "q", "pattern") for layer in (first, last)
          for at in (None, "END", "S2")),
        *((Node(site, layer, 0, at),) for site in ("k", "v") for layer in (first, middle) for at in (None, "S2")),
        *((Node(site, layer, None, at),) for site in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
          for layer in (first, last) for at in (None, "END", "S2", "S1")),
        tuple(Node("z", layer, head, "END") for layer in range(shape.n_layers) for head in (0, 1)),
        (Node("z", middle, 0, ("S2", "END")), Node("q", last, 1, "END"), Node("mlp_out", middle)),
    ]  # fmt: skip
    if experiment.checkpoint.name == "neox-like":  # attention and MLP side by side: there is no stream between them
        nodes = [patched_nodes for patched_nodes in nodes if patched_nodes[0].site != "resid_mid"]
    if shape.n_layers > 10:
        nodes = nodes[::3]
    source = from_run(experiment, [node for patched_nodes in nodes for node in patched_nodes], other)
    return [[Patch(patched_nodes, source)] for patched_nodes in nodes]


@pytest.fixture
def small(experiment):
    """The models on which everything can be tried in seconds; SmolLM2 stands for them at every site and path."""
    if experiment.checkpoint.shape.n_layers > 10:
        pytest.skip("tried on the small models, and in tests/measure/test_independent.py by hand")
    return experiment


@pytest.mark.parametrize("run", ["clean", "s2-exchanged"])
def test_every_site(experiment, whole, run, request):
    if run == "clean" and experiment.checkpoint.shape.n_layers > 10:
        pytest.skip("one direction is enough on SmolLM2")
    jobs = jobs_of(experiment, run)
    fast = patched(experiment, jobs, run=run)
    slow = whole(experiment, lambda: patched(experiment, jobs, run=run))
    assert (fast.start_from, slow.start_from) == (WAYS[request.node.callspec.params["experiment"]], "whole")
    agree(experiment, f"every site, into {run}", fast.values, slow.values)
    # It is no comparison of nothing: many patches move something.
    moved = (slow.values - experiment.logit_diffs(run)).abs().amax(1)
    assert (moved > 1e-3).sum() > len(jobs) // 4


@pytest.mark.parametrize("how", ["zero", "mean", "resample", "permute"])
def test_ablations(small, whole, how):
    last = small.checkpoint.shape.n_layers - 1
    heads = [Head(last // 2, 0), Head(last, 1)]
    for at in (None, "END", ("S2", "END")):
        single, other = (
            run(lambda at=at: ablation_effect(small, heads, ablation=how, at=at).values)
            for run in (lambda measure: measure(), lambda measure: whole(small, measure))
        )
        agree(small, f"{how} ablation at {at}", single, other)


@pytest.mark.parametrize("metric", [Metric("kl"), Metric("log_prob"), Metric("log_prob", at="S2", token="next")])
def test_other_metrics_at_other_positions(small, whole, metric):
    source = from_run(small, [Node("resid_pre", 0)], "abc")
    jobs = [[Patch((Node("resid_pre", 0, None, at),), source)] for at in (None, "IO", "S2", "END")]
    fast = patched(small, jobs, metric=metric).values
    slow = whole(small, lambda: patched(small, jobs, metric=metric)).values
    agree(small, metric.text, fast, slow)
    if metric.at == "S2":
        assert torch.equal(fast[-1], small.scores(metric))  # what is patched later is not seen there


@pytest.mark.parametrize("mlps", ["recompute", "freeze"])
@pytest.mark.parametrize(("into", "at"), [("q", "END"), ("k", "S2"), ("v", "S2"), ("v", None), (None, "END")])
def test_paths(experiment, whole, into, at, mlps):
    if experiment.checkpoint.shape.n_layers > 10 and (mlps == "freeze" or at is None):
        pytest.skip("tried on the small models")
    last = experiment.checkpoint.shape.n_layers - 1
    # Receivers in two layers, one of them before a sender.
    receivers = "logits" if into is None else [Head(last - 1, 1), Head(last, 0)]
    senders = [Head(0, 0), Head(last - 1, 1)]

    def measure():
        return path_patch_effect(experiment, senders, receivers, into=into, at=at, mlps=mlps).values

    agree(experiment, f"paths into {into or 'logits'} at {at}, MLPs {mlps}", measure(), whole(experiment, measure))


def test_what_is_kept(small, whole):
    last = small.checkpoint.shape.n_layers - 1

    def measure():
        effect = backup_effect(small, [Head(0, 1), Head(last, 1)], knocked_out=[Head(last - 1, 0)], ablation="zero")
        return [attribution.values for by in (effect.after, effect.after_live) for attribution in by.values()]

    agree(small, "attribution after a knock-out", measure(), whole(small, measure))


SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "q", "k", "v", "z", "pattern")


def test_what_is_asked_for_later_is_what_the_same_pass_had(small, monkeypatch):
    """Sites that the kept pass did not keep come from its residual stream, without another pass."""
    checkpoint, data = small.checkpoint, small.data
    sites = [site for site in SITES if (site, checkpoint.name) != ("resid_mid", "neox-like")]
    hooks = [checkpoint.sites.hook(site, layer) for site in sites for layer in range(checkpoint.shape.n_layers)]
    whole = [checkpoint.run(group.tokens, keep=hooks).activations for group in data.clean.groups]
    with checkpoint.guard.isolated_memory():
        small.logit_diffs()
        monkeypatch.setattr(Forward, "run", None)
        for hook in hooks:
            for index, activation in enumerate(small.activations([hook], data.clean)[hook]):
                agree(small, hook, activation, whole[index][hook], bound=2e-5)


def passes(monkeypatch):
    """How many passes were made from the beginning, one for each group."""
    count, run = [], Forward.run
    monkeypatch.setattr(Forward, "run", lambda self, *a, **k: count.append(1) or run(self, *a, **k))
    return count


def test_other_labels_and_positions_of_the_same_tokens_take_no_pass(small, monkeypatch):
    with small.checkpoint.guard.isolated_memory():
        own, count = small.logit_diffs(), passes(monkeypatch)
        exchanged = replace(small, data=answer_and_distractor_exchanged(small.data))
        assert torch.equal(exchanged.logit_diffs(), -own)
        assert exchanged.activation(small.checkpoint.sites.hook("z", 0))
        assert count == []
        assert not torch.equal(replace(small, data=end_one_earlier(small.data)).logit_diffs(), own)
        assert count


def test_means_over_reference_prompts_are_taken_once(small, monkeypatch):
    layers, checkpoint, data = small.checkpoint.shape.n_layers, small.checkpoint, small.data
    with checkpoint.guard.isolated_memory():
        small.logit_diffs()
        first, count = ablation_effect(small, [Head(0, 0)], at="END"), passes(monkeypatch)
        ablation_effect(small, [Head(layers - 1, 1)], at="S2")
        assert ablation_effect(small, [Head(0, 0)], at="END").values == first.values
        assert count == []
        # By hand, for the first template of the reference.
        hook, template = checkpoint.sites.hook("z", 0), data.reference.prompts[0].template
        means = checkpoint.memo[data.reference.digest, hook, "means"]
        (group,) = [candidate for candidate in data.reference.groups if 0 in candidate.rows]
        rows = [i for i, row in enumerate(group.rows) if data.reference.prompts[row].template == template]
        z = checkpoint.run(group.tokens[rows], keep=[hook]).activations[hook]
        assert len(rows) >= 16
        assert torch.allclose(means[template], sum(z) / len(rows), atol=1e-5)


def test_a_circuit_as_a_whole_is_asked_once_for_all_its_heads(small, monkeypatch):
    last = small.checkpoint.shape.n_layers - 1
    circuit, resumed, resume = [Head(0, 0), Head(last, 0), Head(last, 1)], [], Blocks.resume
    with small.checkpoint.guard.isolated_memory():
        alone = faithfulness(small, circuit, metric="logit_diff").values
        monkeypatch.setattr(Blocks, "resume", lambda self, *a, **k: resumed.append(1) or resume(self, *a, **k))
        counts = []
        for head in circuit:
            needed = minimality(small, head, circuit).values
            counts.append(len(resumed))
            rest = faithfulness(small, [member for member in circuit if member != head], metric="logit_diff").values
            assert needed == pytest.approx([a - b for a, b in zip(alone, rest, strict=True)], abs=1e-5)
            assert len(resumed) == counts[-1]  # the rest was known of minimality
        assert counts[0] > 0


def test_circuits_that_differ_in_a_head_are_run_from_where_they_differ(small, whole, monkeypatch):
    last, resume, resumed = small.checkpoint.shape.n_layers - 1, Blocks.resume, []
    circuit = {Head(0, 0): None, Head(last, 0): "END", Head(last, 1): "END", Head(0, 1): "S2"}

    def measure():
        effects = [kept_effect(small, circuit, heads).values for heads in ([Head(last, 1)], list(circuit)[:3])]
        needed = [minimality(small, head, circuit).values for head in circuit]
        return [*effects, *needed, completeness(small, circuit, knocked_out=Head(last, 0)).values]

    slow = whole(small, measure)
    with small.checkpoint.guard.isolated_memory():
        ablation_effect(small, [Head(0, 0)])  # the unedited run, and means
        count = passes(monkeypatch)
        monkeypatch.setattr(Blocks, "resume", lambda self, *a, **k: resumed.append((a, k)) or resume(self, *a, **k))
        fast = measure()
    agree(small, "circuits", fast, slow)
    # From the beginning: without any head, and the circuit. All others start from one of these.
    assert len(count) == 2 * len(small.data.clean.groups)
    starts = [start for (_, _, layers, start), named in resumed if layers == [last] and named.get("edits")]
    late = [start for start in starts if start] if small.clean_passes()[0].start_from == "position" else starts
    assert len(late) >= 3 * len(small.data.clean.groups)  # those of heads of the last layer at END


def test_a_run_that_would_fill_the_memo_is_nowhere_to_start_from(small, monkeypatch):
    with small.checkpoint.guard.isolated_memory():
        assert torch.allclose(edited(small, []).scores, small.logit_diffs(), atol=1e-5)
        passes = small.checkpoint.memo[small.data.clean.inputs, "clean passes"]
        monkeypatch.setattr(small.checkpoint.memo, "capacity", 3 * bytes_in(passes))
        assert edited(small, []) is None


def test_prompts_that_are_too_many_leave_no_residual_stream(small, monkeypatch):
    expected = small.logit_diffs()
    with small.checkpoint.guard.isolated_memory():
        monkeypatch.setattr(type(small.checkpoint), "holds_stream", lambda self, groups: False)
        assert torch.allclose(small.logit_diffs(), expected, atol=1e-5)
        assert not [key for key in small.checkpoint.memo if "clean passes" in key]
        z = small.activation(small.checkpoint.sites.hook("z", 0))
        assert not [key for key in small.checkpoint.memo if "clean passes" in key]
    for small_budget, usual in zip(z, small.activation(small.checkpoint.sites.hook("z", 0)), strict=True):
        assert torch.allclose(small_budget, usual, atol=1e-5)


def test_a_small_budget_changes_nothing(small, monkeypatch):
    jobs = jobs_of(small, "clean")
    at_once = patched(small, jobs).values
    per_row = small.checkpoint.bytes_of_row(20, 20, logits=False)
    monkeypatch.setattr(small.checkpoint, "budget", 2 * per_row)
    agree(small, "in batches of about two rows", patched(small, jobs).values, at_once, bound=2e-5)


def test_what_is_kept_is_bounded_and_changes_nothing(small, monkeypatch):
    measure = lambda: [effect.values for effect in patch_effect_sweep(small, "z", metric="logit_diff").values()]  # noqa: E731
    expected = measure()
    with small.checkpoint.guard.isolated_memory():
        monkeypatch.setattr(small.checkpoint.memo, "capacity", 1)
        monkeypatch.setattr(small.checkpoint.memo, "large", 0)
        # Not bit by bit: without the clean run in the memo, the corrupted one does not continue it.
        torch.testing.assert_close(torch.tensor(measure()), torch.tensor(expected), atol=2e-5, rtol=0)
        assert len(small.checkpoint.memo) == 1


def test_what_was_asked_for_last_is_kept():
    memo = Memo(capacity=30 * 4, large=0)
    for name in "abc":
        memo[name] = [torch.zeros(10)]
    assert memo.get("a") is not None
    memo["d"] = {"x": (torch.zeros(5), torch.zeros(5))}
    assert list(memo) == ["c", "a", "d"]
    assert memo.used == 120
    memo["a"] = torch.zeros(1)
    assert memo.used == 84
    del memo["c"]
    assert (memo.used, memo.get("c", "gone")) == (44, "gone")
    memo.clear()
    assert memo.used == 0


def test_what_is_small_stays():
    memo = Memo(capacity=100, large=40)
    for name, size in (("small", 9), ("large", 12), ("another", 20)):
        memo[name] = torch.zeros(size)
    assert list(memo) == ["small", "another"]
    memo["last"] = torch.zeros(9)
    assert list(memo) == ["small", "last"]
    assert memo.used == 72


def test_where_end_alone_is_read_the_last_mlp_runs_there_alone(small, monkeypatch):
    """And nowhere else: what is kept of the last layer, or read elsewhere, has every position."""
    checkpoint, group = small.checkpoint, small.data.clean.groups[0]
    last, length = checkpoint.shape.n_layers - 1, group.tokens.shape[1]
    if checkpoint.spec.kind == "planted":
        pytest.skip("the last MLP of a planted model writes nothing")
    size, clean = len(group.rows), checkpoint.forward.clean_pass(group.tokens)
    rows = Rows.of(range(size), size, checkpoint.device)
    start = 0 if clean.start_from == "layer" else length // 2
    whole, ended = (
        checkpoint.forward.resume(clean, rows, [last], start, end_only=end).residual for end in (False, True)
    )
    assert (whole[:, -1] - ended[:, -1]).abs().max() < 1e-5
    assert (whole[:, :-1] - ended[:, :-1]).abs().max() > 1e-3
    hook = checkpoint.sites.hook("mlp_out", last)
    resumed = checkpoint.forward.resume(clean, rows, [last], start, end_only=True, keep=[hook])
    assert resumed.activations[hook].shape[1] == length - start
    assert torch.equal(resumed.residual, whole)


def test_the_parts_of_the_model_are_its_own_again(gpt2_like):
    gelus = [
        module for module in gpt2_like.bridge.original_model.modules() if type(module).__name__ == "NewGELUActivation"
    ]
    assert gelus
    group = experiment_on(gpt2_like).data.clean.groups[0]
    clean = gpt2_like.forward.clean_pass(group.tokens)
    rows = Rows.of([0, 1], len(group.rows), gpt2_like.device)

    def stop(value):
        assert all("forward" in vars(module) for module in gelus)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpt2_like.forward.resume(clean, rows, [0], 3, edits={"blocks.1.hook_mlp_out": stop}, end_only=True)
    assert not any("forward" in vars(module) for module in gelus)
    assert gpt2_like.changes_since_load() == []


def test_a_budget_for_less_than_one_prompt_gets_a_sentence(gpt2_like, monkeypatch):
    experiment = experiment_on(gpt2_like)
    monkeypatch.setattr(gpt2_like, "budget", 100)
    with pytest.raises(UsageError, match=r"one prompt of 1\d tokens needs .* MB on gpt2-like, but 0.0 MB are allowed"):
        patched(experiment, jobs_of(experiment, "clean"))


@pytest.mark.parametrize("text", ["", "much", "-3M", "0", "3 T"])
def test_amounts_of_memory(text):
    assert (bytes_of("300M"), bytes_of("2GB"), bytes_of("1.5 kib"), bytes_of("17")) == (300 << 20, 2 << 30, 1536, 17)
    with pytest.raises(UsageError, match="is no amount of memory; pass a number of bytes"):
        bytes_of(text)


def test_hooks_of_others_make_whole_passes(gpt2_like):
    experiment = experiment_on(gpt2_like)
    jobs = jobs_of(experiment, "clean")[:4]
    before = patched(experiment, jobs)
    bridge = gpt2_like.bridge
    with bridge.hooks(fwd_hooks=[("blocks.1.hook_mlp_out", lambda value, hook: value * 0.5)]):
        other = patched(experiment, jobs)
    assert (before.start_from, other.start_from) == ("position", "whole")
    assert (before.values - other.values).abs().max() > 0.01
    assert torch.equal(patched(experiment, jobs).values, before.values)


def test_blocks_that_cannot_be_driven_are_run_whole(gpt2_like, monkeypatch):
    def stubborn(self, *args, **kwargs):
        raise TypeError("this block takes something else")

    experiment = experiment_on(gpt2_like)
    monkeypatch.setattr(Blocks, "resume", stubborn)
    monkeypatch.setattr(gpt2_like.forward.blocks, "_start_from", {})
    with gpt2_like.guard.isolated_memory():
        passes = patched(experiment, jobs_of(experiment, "clean")[:2])
    assert passes.start_from == "whole"


def test_blocks_that_end_elsewhere_are_run_whole(gpt2_like, monkeypatch):
    """Driven wrongly (here: without what comes before), they are found out and not used."""
    from pytest_interp.checkpoints.resume import KeyValues

    monkeypatch.setattr(KeyValues, "update", lambda self, keys, values, layer: self.recorded.update(
        {layer: (keys, values)}) or (keys, values))  # fmt: skip
    monkeypatch.setattr(gpt2_like.forward.blocks, "_start_from", {})
    monkeypatch.setattr(gpt2_like.forward.blocks, "_arguments", {})
    experiment = experiment_on(gpt2_like)
    with gpt2_like.guard.isolated_memory():
        assert patched(experiment, jobs_of(experiment, "clean")[:2]).start_from == "layer"


def test_nothing_stays_after_an_error(gpt2_like):
    experiment = experiment_on(gpt2_like)
    before = gpt2_like.guard.state()

    def fail(*_):
        raise RuntimeError("in the middle of a pass")

    patch = Patch((Node("z", 1, 0, "END"),), ablated(experiment, [Node("z", 1, 0)], "zero"))
    object.__setattr__(patch.source, "give", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        patched(experiment, [[patch]])
    assert gpt2_like.guard.state() == before
    assert gpt2_like.guard.foreign_hooks == []


def test_records_say_where_passes_started(planted_ioi, gpt2_like):
    for experiment, start_from in ((planted_ioi, "layer"), (experiment_on(gpt2_like), "position")):
        cells = patch_effect_sweep(experiment, "z", at="END", layers=[1])
        assert {cell.context.extra["passes_from"] for cell in cells.values()} == {start_from}


def test_a_patch_before_the_runs_differ_does_nothing(gpt2_like):
    """Before S2 the runs are equal: there is no effect to measure, and in the engine no pass is needed to know it."""
    experiment: Experiment = experiment_on(gpt2_like)
    with pytest.raises(NotApplicable, match="no cell is defined"):
        patch_effect_sweep(experiment, "resid_pre", positions=["IO", "S1"])
    nodes = [Node("resid_pre", 1, None, at) for at in ("IO", "S1")]
    source = from_run(experiment, nodes, "clean")
    passes = patched(experiment, [[Patch((node,), source)] for node in nodes], run="s2-exchanged")
    assert (passes.values - experiment.logit_diffs("s2-exchanged")).abs().max() == 0


def test_a_device_that_runs_out_of_memory_gets_smaller_batches(gpt2_like, monkeypatch, caplog):
    small = experiment_on(gpt2_like)
    jobs, resume = jobs_of(small, "clean")[::8], GroupPasses._resume
    expected = patched(small, jobs).values
    sizes: list[int] = []

    def in_little_memory(self, jobs, numbers, outcomes, rows, start):
        sizes.append(len(numbers) * len(rows))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        resume(self, jobs, numbers, outcomes, rows, start)

    monkeypatch.setattr(gpt2_like, "budget", gpt2_like.budget)
    monkeypatch.setattr(GroupPasses, "_resume", in_little_memory)
    agree(small, "in little memory", patched(small, jobs).values, expected, bound=2e-5)
    assert max(sizes) > 3
    assert sizes[-1] <= 3
    assert "ran out of memory: passes over gpt2-like now take batches of" in caplog.text


@pytest.mark.parametrize("measured", [0.5, 2.0])
def test_batches_follow_the_memory_that_was_measured(gpt2_like, monkeypatch, measured):
    """The first part of a batch has the estimated size; each row of it took half, or twice, as much."""
    small = experiment_on(gpt2_like)
    jobs, resume = jobs_of(small, "clean")[::4], GroupPasses._resume
    expected = patched(small, jobs).values
    sizes: list[list[int]] = []  # of the parts of each batch
    row = 0

    @contextmanager
    def peak(_):
        peak = Peak()
        yield peak
        peak.bytes = int(measured * row) * sizes[-1][-1]

    def recorded(self, jobs, numbers, outcomes, rows, start):
        nonlocal row
        row = self._bytes_of_row(start)
        sizes[-1].append(len(numbers) * len(rows))
        resume(self, jobs, numbers, outcomes, rows, start)

    def parts(self, batch):
        sizes.append([])
        monkeypatch.setattr(gpt2_like, "budget", 4 * self._bytes_of_row(batch.start))
        yield from _parts(self, batch)

    _parts = GroupPasses._parts
    monkeypatch.setattr(gpt2_like, "budget", gpt2_like.budget)
    monkeypatch.setattr(batches, "peak_memory", peak)
    monkeypatch.setattr(GroupPasses, "_parts", parts)
    monkeypatch.setattr(GroupPasses, "_resume", recorded)
    agree(small, "measured", patched(small, jobs).values, expected, bound=2e-5)
    several = [batch for batch in sizes if len(batch) > 2]
    assert several
    assert {batch[0] for batch in several} <= {3, 4}
    assert max(max(batch[1:]) for batch in several) == 4 / measured


def test_unedited_passes_in_little_memory_run_in_parts(gpt2_like, monkeypatch, caplog):
    small = experiment_on(gpt2_like)
    jobs, run = jobs_of(small, "clean")[::8], Forward._run
    hook = gpt2_like.sites.hook("pattern", 1)
    with gpt2_like.guard.isolated_memory():
        expected, patterns = patched(small, jobs).values, small.activations([hook], small.data.clean)[hook]
    sizes: list[int] = []

    def in_little_memory(self, tokens, *arguments):
        sizes.append(len(tokens))
        if len(tokens) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return run(self, tokens, *arguments)

    monkeypatch.setattr(gpt2_like.forward.blocks, "most_tokens", sys.maxsize)
    monkeypatch.setattr(Forward, "_run", in_little_memory)
    with gpt2_like.guard.isolated_memory():
        agree(small, "in little memory", patched(small, jobs).values, expected, bound=2e-5)
        for ours, whole in zip(small.activations([hook], small.data.clean)[hook], patterns, strict=True):
            torch.testing.assert_close(ours, whole)
    assert max(sizes) > 3
    assert len([size for size in sizes if size > 3]) <= 3, "what did not fit once is not tried again"
    assert caplog.text.count("ran out of memory: unedited passes over gpt2-like now take at most") == 1


def test_an_unedited_prompt_that_does_not_fit_the_device_gets_a_sentence(gpt2_like, monkeypatch):
    def in_no_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(gpt2_like.forward.blocks, "most_tokens", sys.maxsize)
    monkeypatch.setattr(Forward, "_run", in_no_memory)
    with pytest.raises(UsageError, match=r"one prompt of 6 tokens does not fit the memory of cpu beside gpt2-like"):
        gpt2_like.run(torch.ones(3, 6, dtype=torch.long))


def test_a_prompt_that_does_not_fit_the_device_gets_a_sentence(gpt2_like, monkeypatch):
    def in_no_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(gpt2_like, "budget", gpt2_like.budget)
    monkeypatch.setattr(GroupPasses, "_resume", in_no_memory)
    small = experiment_on(gpt2_like)
    with pytest.raises(
        UsageError, match=r"one prompt of \d+ tokens does not fit .*: CUDA out of memory; pass --interp"
    ):
        patched(small, jobs_of(small, "clean"))


def test_batches_are_as_large_as_the_device_allows(monkeypatch):
    monkeypatch.setattr("pytest_interp.checkpoints.memo.free_memory", lambda device: 2**36)
    assert [largest_batch(torch.device("cpu"), budget) for budget in (2**28, 2**20)] == [96 * 2**20, 2**20]
    assert [largest_batch(torch.device(name), 2**34) for name in ("cuda", "mps")] == [2**34, 2**34]
    assert capacity_of(torch.device("cpu"), processes=8) == 2 * 2**30
    assert (budget_of(torch.device("cpu")), capacity_of(torch.device("cpu"))) == (2**28, 6 * 2**30)
    assert (budget_of(torch.device("cuda")), capacity_of(torch.device("cuda"))) == (2**34, 2**33)


def test_processes_share_the_memory_of_the_machine(tokenizer, monkeypatch):
    monkeypatch.setattr("pytest_interp.checkpoints.memo.free_memory", lambda device: 2**34)
    checkpoint = Checkpoint(CheckpointSpec("mine", loader=lambda: (random_gpt2(tokenizer), tokenizer)))
    alone = checkpoint.guard.memo.capacity
    checkpoint.guard.share_memory(2)
    with checkpoint.guard.isolated_memory():
        assert 0 < checkpoint.guard.memo.capacity <= alone // 2 == 2 * 2**30
    checkpoint.reload()
    assert checkpoint.guard.memo.capacity == alone // 2
