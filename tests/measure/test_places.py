"""Circuits of heads at positions: against the circuit measurements, passes with hooks, and finite differences."""

import pytest
import torch
from models import experiment_on

from pytest_interp import Head
from pytest_interp.circuit import EVERYWHERE
from pytest_interp.engine.passes import patched
from pytest_interp.engine.patch import Node, Patch, Source, ablated
from pytest_interp.measure import faithfulness, head_patch_effect
from pytest_interp.measure.circuit import kept_effect
from pytest_interp.measure.places import (
    Place,
    circuit_scores,
    circuit_slopes,
    named_places,
    place_effects,
)

MOVER, INHIBITION = Place(Head(3, 0), "END"), Place(Head(2, 0), EVERYWHERE)


def near(values, tolerance=1e-3):
    return pytest.approx(list(values), abs=tolerance)


def test_scores_are_those_of_the_circuit_measurement(planted_ioi):
    places = [MOVER, INHIBITION, Place(Head(0, 0), "S1+1"), Place(Head(0, 0), "S2")]
    circuit = {Head(3, 0): ("END",), Head(2, 0): None, Head(0, 0): ("S1+1", "S2")}
    scores = circuit_scores(planted_ioi, [places, []])
    assert scores[0].tolist() == near(faithfulness(planted_ioi, circuit, metric="logit_diff").values)
    gap = kept_effect(planted_ioi, circuit, list(circuit))  # F(heads) - F(no head)
    assert (scores[0] - scores[1]).tolist() == near(gap.values)


def test_a_counterfactual_circuit_is_a_pass_with_hooks(gpt2_like):
    experiment = experiment_on(gpt2_like, n=4)
    (scores,) = circuit_scores(experiment, [[Place(Head(1, 2), EVERYWHERE)]], ablation="abc")
    expected = torch.empty(4)
    for clean, other in zip(experiment.data.clean.groups, experiment.data.run("abc").groups, strict=True):
        hooks = [gpt2_like.sites.hook("z", layer) for layer in range(gpt2_like.shape.n_layers)]
        corrupted = gpt2_like.run(other.tokens, keep=hooks).activations

        def edit_at(layer, corrupted=corrupted, hooks=hooks):
            def edit(value):
                new = corrupted[hooks[layer]].clone()
                if layer == 1:
                    new[:, :, 2] = value[:, :, 2]
                return new

            return edit

        logits = gpt2_like.run(clean.tokens, edits={hook: edit_at(layer) for layer, hook in enumerate(hooks)}).logits
        rows = torch.arange(len(logits))
        difference = logits[rows, clean.answers] - logits[rows, clean.distractors]
        expected[list(clean.rows)] = difference
    assert scores.tolist() == near(expected.tolist())


def test_effects_are_those_of_patching_alone(planted_ioi):
    places = [MOVER, Place(Head(3, 3), "END"), Place(Head(0, 0), "S1+1")]
    mover, silent, previous = place_effects(planted_ioi, places, "abc")
    for place, effect in ((MOVER, mover), (places[2], previous)):
        exact = head_patch_effect(
            planted_ioi, place.head, site="z", at=place.at, direction="noise", corruption="abc", metric="logit_diff"
        )
        assert effect.tolist() == near(exact.values)
    assert silent is None  # it writes nothing in either run


def test_slopes_are_finite_differences(llama_like):
    """At the circuit of all heads: z moves by a share of its distance to the mean."""
    experiment = experiment_on(llama_like, n=4)
    everything = [Place(head, EVERYWHERE) for head in llama_like.shape.heads]
    slopes = circuit_slopes(experiment, everything)
    assert set(slopes) == set(named_places(experiment))
    for place in (Place(Head(1, 4), "S2"), Place(Head(2, 0), "END"), Place(Head(0, 1), EVERYWHERE)):
        mean = ablated(experiment, [place.node], "mean")

        def moved(share, mean=mean):
            def give(hook, index, rows, value):
                clean = experiment.activation(hook)[index][rows.index]
                return clean + share * (clean - mean.give(hook, index, rows, value))

            return Source(give)

        step = 1e-2
        up, down = patched(experiment, [[Patch((place.node,), moved(share))] for share in (step, -step)]).values
        assert slopes[place].tolist() == near(((up - down) / (2 * step)).tolist(), 2e-2)


def test_a_place_is_a_node():
    assert MOVER.node == Node("z", 3, 0, "END")
    assert INHIBITION.node.at is None
