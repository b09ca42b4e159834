"""Signals, parts of self-repair and ablated MLPs, against a GPT-2 in numpy and by hand."""

import numpy as np
import pytest
from gpt2_reference import Prompts, Reference

from claims.published.interventions import (
    SIGNALS,
    logit_diff_without_mlps,
    prefixed_changes,
    self_repairs,
    share_of_drop,
    signal_strengths,
)
from claims.published.populations import arena
from claims.published.queries import attention_changes, score_gaps, shares_along_answer
from claims.published.stimuli import listed
from claims.published.successors import SEQUENCES, successor_scores
from pytest_interp.measure import direct_logit_attribution_sweep, knocked_out_attribution_sweep, self_repair

HEADS = ["1.1", "2.0"]


@pytest.fixture(scope="module")
def folder(gpt2_tokenizer, saved_gpt2):
    return saved_gpt2(gpt2_tokenizer, 4, 4, 32, n_positions=64)


@pytest.fixture(scope="module")
def experiment(checkpoint):
    return listed(checkpoint, arena(seed=3, prompts=24), bos=True, name="ioi/arena", signals=True)


def groups_of(experiment, run="clean"):
    for clean, group in zip(experiment.data.clean.groups, experiment.data.run(run).groups, strict=True):
        yield clean, Prompts.of(group.tokens.tolist(), clean.answers.tolist(), clean.distractors.tolist())


def in_order(experiment, values):
    """Values of groups in the order of the prompts."""
    rows = [row for group in experiment.data.clean.groups for row in group.rows]
    return [value for _, value in sorted(zip(rows, np.concatenate(values), strict=True))]


def replaced(source, layer, head, at):
    """An edit that puts a head's z of another run in at some positions."""

    def put(value):
        value = value.copy()
        rows = np.arange(len(value))
        value[rows, at, head] = source.sites["z", layer][rows, at, head]
        return value

    return put


# ---- signals


def test_each_corruption_is_what_it_is_called(experiment):
    texts = {run: experiment.data.run(run).prompts[0].text for run in ("clean", *SIGNALS)}
    names = {
        run: [word for word in text.replace(",", " ").split() if word[0].isupper()][1:] for run, text in texts.items()
    }
    io, s = names["clean"][0], names["clean"][1]
    if names["clean"][2] == io:
        io, s = s, io
    exchanged = {io: s, s: io}
    assert names["names-exchanged"] == [exchanged[name] for name in names["clean"]]
    assert names["order-exchanged"] == [*names["names-exchanged"][:2], s]
    assert names["s2-exchanged"] == [*names["clean"][:2], io]
    first, second, last = names["random-names"]
    assert {first, second}.isdisjoint((io, s))
    assert (last == first) == (names["clean"][2] == names["clean"][0])
    assert names["order-exchanged-random-names"] == [first, second, second if last == first else first]


def test_the_fit_is_least_squares(experiment, reference):
    columns, runs = [(1, 1), *SIGNALS.values()], []
    for run in ("clean", *SIGNALS):
        values = []
        for (_, ours), (_, other) in zip(groups_of(experiment), groups_of(experiment, run), strict=True):
            source = reference.run(other.tokens)
            edits = {("z", int(head[0])): replaced(source, int(head[0]), int(head[2]), -1) for head in HEADS}
            values.append(reference.logit_diff(ours, edits))
        runs.append(in_order(experiment, values))
    fitted = np.linalg.lstsq(np.array(columns, dtype=float), np.array(runs), rcond=None)[0]
    for signal, strengths in zip(("position", "token"), fitted, strict=True):
        assert signal_strengths(experiment, HEADS, signal) == pytest.approx(strengths, abs=1e-4)
    assert abs(fitted).max() > 0.01


def test_a_share_of_a_drop(experiment, reference):
    changes = []
    for heads, name in ((HEADS, None), (["0.1", "1.2"], "S2")):
        values = []
        for (clean, ours), (_, other) in zip(
            groups_of(experiment), groups_of(experiment, "order-exchanged"), strict=True
        ):
            at = -1 if name is None else experiment.position(clean, name).numpy()
            source = reference.run(other.tokens)
            edits = {("z", int(head[0])): replaced(source, int(head[0]), int(head[2]), at) for head in heads}
            values.append(reference.logit_diff(ours, edits) - reference.logit_diff(ours))
        changes.append(np.concatenate(values).mean())
    drop, share = share_of_drop(experiment, ["0.1", "1.2"], HEADS, corruption="order-exchanged")
    assert drop == pytest.approx(changes[0], abs=1e-4)
    assert share * drop == pytest.approx(changes[1], abs=1e-4)


def test_heads_as_after_a_prefix(experiment, reference, gpt2_tokenizer):
    prefix, values = "It was late. ", []
    for group, ours in groups_of(experiment):
        texts = [gpt2_tokenizer.encode(prefix + experiment.data.clean.prompts[row].text) for row in group.rows]
        source = reference.run(np.array([[50256, *text] for text in texts]))
        edits = {("z", layer): replaced(source, layer, head, -1) for layer, head in ((1, 1), (2, 0))}
        values.append(reference.logit_diff(ours, edits) - reference.logit_diff(ours))
    assert prefixed_changes(experiment, HEADS, prefix) == pytest.approx(in_order(experiment, values), abs=1e-4)
    assert np.abs(np.concatenate(values)).max() > 0.001


# ---- self-repair and MLPs


def test_parts_of_self_repair(experiment):
    """What heads write more by the ablated run's own norm, and by how much the logit difference falls too little.

    A prompt that is alone in its template has its own output as mean, and counts as 0.
    """
    repaired, share = self_repairs(experiment, ["2.0", "3.1"], ["1.1"])
    after = knocked_out_attribution_sweep(experiment, ["1.1"], ablation="mean")
    before = direct_logit_attribution_sweep(experiment)

    def rise(head):
        was = dict(zip(before[head].labels, before[head].values, strict=True))
        gained = [value - was[label] for label, value in zip(after[head].labels, after[head].values, strict=True)]
        return sum(gained) / len(gained)

    assert share.value * repaired.value == pytest.approx(rise("2.0") + rise("3.1"), abs=1e-4)
    whole = self_repair(experiment, "1.1", ablation="mean")
    assert repaired.value == pytest.approx(sum(whole.values) / len(whole.values), abs=1e-4)
    assert len(whole.values) == 24
    assert whole.context.extra["unchanged"] > 0


@pytest.mark.parametrize("layers", [[0], [1, 2, 3]])
def test_ablated_mlps(experiment, reference, layers):
    means = {}
    for group, ours in groups_of(experiment):
        run = reference.run(ours.tokens)
        for template in {experiment.data.clean.prompts[row].template for row in group.rows}:
            rows = [i for i, row in enumerate(group.rows) if experiment.data.clean.prompts[row].template == template]
            for layer in layers:
                means[template, layer] = run.sites["mlp_out", layer][rows].mean(0)
    values = []
    for group, ours in groups_of(experiment):
        templates = [experiment.data.clean.prompts[row].template for row in group.rows]
        edits = {
            ("mlp_out", layer): lambda _, layer=layer, templates=templates: np.stack(
                [means[template, layer] for template in templates]
            )
            for layer in layers
        }
        values.append(reference.logit_diff(ours, edits))
    assert list(logit_diff_without_mlps(experiment, layers).values) == pytest.approx(
        in_order(experiment, values), abs=1e-4
    )


# ---- other queries


def scores(reference, stream, keys, layer, head, scale):
    """A head's scores at END from what stands at its query's input."""
    block = reference.blocks[layer]
    query = (stream - stream.mean(-1, keepdims=True)) / scale[:, None] @ block["W_q"][:, head] + block["b_q"][head]
    return np.einsum("pk,psk->ps", query, keys[:, :, head]) / np.sqrt(query.shape[-1])


def inputs(reference, ours, clean, layer, query, experiment):
    """What stands at the query's input, and the scale it is divided by."""
    run = reference.run(ours.tokens)
    stream = run.sites["resid_pre", layer][:, -1]
    own = np.sqrt((stream**2).mean(-1) + reference.epsilon)
    io, s = reference.unembed[:, ours.answers].T, reference.unembed[:, ours.distractors].T
    if query == "clean":
        return run, stream, own
    if query == "order-exchanged":
        tokens, rows = ours.tokens.copy(), np.arange(len(ours.tokens))
        first, second = (experiment.position(clean, name).numpy() for name in ("IO", "S1"))
        tokens[rows, first], tokens[rows, second] = ours.tokens[rows, second], ours.tokens[rows, first]
        return run, reference.run(tokens).sites["resid_pre", layer][:, -1], own
    if query == "projected":
        plane = np.stack([io, s], axis=-1)
        shares = np.stack([np.linalg.lstsq(plane[row], stream[row], rcond=None)[0] for row in range(len(stream))])
        return run, np.einsum("pdn,pn->pd", plane, shares), own
    vector = io if query == "answer" else run.sites["z", 1][:, -1, 2] @ reference.blocks[1]["W_o"][2]
    return run, vector, np.sqrt((vector**2).mean(-1) + reference.epsilon)


@pytest.mark.parametrize("query", ["clean", "order-exchanged", "projected", "answer", "1.2"])
def test_scores_with_other_queries(experiment, reference, query):
    values = []
    for clean, ours in groups_of(experiment):
        run, read, scale = inputs(reference, ours, clean, 2, query, experiment)
        of_keys, rows = scores(reference, read, run.sites["k", 2], 2, 1, scale), np.arange(len(read))
        io, s1 = (experiment.position(clean, name).numpy() for name in ("IO", "S1"))
        values.append(of_keys[rows, io] - of_keys[rows, s1])
    assert score_gaps(experiment, "2.1", query) == pytest.approx(in_order(experiment, values), abs=1e-4)


def test_attention_where_paths_into_the_query_are_patched(experiment, reference):
    """Two passes of a GPT-2 in numpy: every other z and every MLP held, then the recorded query put in."""
    values, receiver = [], (3, 1)
    for (clean, ours), (_, other) in zip(groups_of(experiment), groups_of(experiment, "random-names"), strict=True):
        run, source = reference.run(ours.tokens), reference.run(other.tokens)
        held = {
            (site, layer): lambda _, value=run.sites[site, layer]: value
            for site in ("z", "mlp_out")
            for layer in range(4)
        }
        for layer, head in ((1, 1), (2, 0)):
            patched = replaced(source, layer, head, slice(None))(run.sites["z", layer])
            held["z", layer] = lambda _, value=patched: value
        recorded = reference.run(ours.tokens, held).sites["q", receiver[0]]

        def put(value, recorded=recorded):
            value = value.copy()
            value[:, -1, receiver[1]] = recorded[:, -1, receiver[1]]
            return value

        after = reference.run(ours.tokens, {("q", receiver[0]): put}).sites["pattern", receiver[0]][:, receiver[1], -1]
        change, rows = after - run.sites["pattern", receiver[0]][:, receiver[1], -1], np.arange(len(after))
        io, s1 = (experiment.position(clean, name).numpy() for name in ("IO", "S1"))
        values.append(change[rows, io] - change[rows, s1])
    ours = attention_changes(experiment, "3.1", HEADS, corruption="random-names")
    assert ours == pytest.approx(in_order(experiment, values), abs=1e-4)
    assert max(map(abs, ours)) > 0.001


def test_the_share_along_the_answer(experiment, reference):
    values = []
    for _, ours in groups_of(experiment):
        written = reference.run(ours.tokens).sites["z", 1][:, -1, 2] @ reference.blocks[1]["W_o"][2]
        direction = reference.unembed[:, ours.answers].T
        direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
        along = (written * direction).sum(-1, keepdims=True) * direction
        values.append((np.linalg.norm(along, axis=-1) / np.linalg.norm(written, axis=-1)) ** 2)
    assert shares_along_answer(experiment, "1.2") == pytest.approx(in_order(experiment, values), abs=1e-4)


# ---- successors


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("sequence", ["numerals", "months"])
def test_successors(folder, checkpoint, gpt2_tokenizer, sequence, own):
    """By the weights as they are stored: value biases in the values."""
    reference = Reference(folder, fold_value_biases=False)
    words, prompts, successors = SEQUENCES[sequence]
    tokens = np.array([gpt2_tokenizer.encode(" ".join(words[i : i + 4])) for i in range(prompts)])
    block, read = reference.blocks[2], reference.normed(reference.run(tokens).sites["resid_post", 0])
    written = (read @ block["W_v"][:, 1] + block["b_v"][1]) @ block["W_o"][1]
    logits = reference.normed(written) @ reference.unembed + reference.unembed_bias
    vocabulary, expected = [gpt2_tokenizer.decode([token]) for token in range(50257)], []
    for row in range(prompts):
        for place in range(4):
            word = (words if own else successors)[row + place]
            top = {vocabulary[token] for token in np.argsort(-logits[row, place])[:25000]}
            expected.append(float(word in top or f" {word}" in top))
    assert successor_scores(checkpoint, "2.1", sequence=sequence, own=own, k=25000) == expected
    assert 0 < sum(expected) < len(expected)
