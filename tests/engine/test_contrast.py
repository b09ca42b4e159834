"""An intervention that can change nothing has no effect to speak of: not applicable, never 0."""

import pytest
import torch
from models import experiment_on

from pytest_interp import (
    Head,
    Metric,
    assert_ablation_effect,
    assert_backup_heads,
    assert_cell,
    assert_completeness,
    assert_every,
    assert_faithfulness,
    assert_flips,
    assert_head_patch_effect,
    assert_logit_diff,
    assert_matrix,
    assert_measurement,
    assert_minimality,
    assert_only,
    assert_patch_effect,
    assert_path_patch_effect,
    assert_self_repair,
    assert_top,
)
from pytest_interp.engine.contrast import changed_prompts
from pytest_interp.engine.patch import Node, Patch, ablated, from_run
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    ablation_effect_sweep,
    head_patch_effect,
    patch_effect,
    patch_effect_sweep,
    path_patch_effect_sweep,
)
from pytest_interp.tasks import from_strings

NOTHING = {"between": (-0.01, 0.01)}
MOVERS = ["3.0", "3.1", "3.2"]


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (lambda e: assert_head_patch_effect(e, "0.0", at="S1+1", **NOTHING), "z of 0.0 at S1.1 is equal"),
        (lambda e: assert_patch_effect(e, "resid_pre", 1, at="IO", **NOTHING), "resid_pre of layer 1 at IO is equal"),
        (
            lambda e: assert_path_patch_effect(
                e, "0.0", "1.0", into="k", at="S1+1", corruption="s2-exchanged", **NOTHING
            ),
            "what 0.0 sends at S1.1 is equal",
        ),
    ],
)
def test_before_s2_the_exchange_of_s2_proves_nothing(planted_ioi, claim, message):
    with pytest.raises(NotApplicable, match=message) as refused:
        claim(planted_ioi)
    assert "exchanging it can change nothing, so its effect is undefined, not 0" in str(refused.value)
    assert "the prompts of 'names-exchanged' and 'abc' and 'random-names' differ there" in str(refused.value)


@pytest.mark.parametrize(
    "claim",
    [
        lambda e: assert_head_patch_effect(e, "3.3", at="END", **NOTHING),
        lambda e: assert_path_patch_effect(e, "3.3", "logits", **NOTHING),
        lambda e: assert_ablation_effect(e, "3.3", **NOTHING),
        lambda e: assert_ablation_effect(e, "3.3", ablation="zero", **NOTHING),
        lambda e: assert_logit_diff(e, knocked_out="3.3", at_least=2),
        lambda e: assert_backup_heads(e, "4.1", knocked_out="3.3", **NOTHING),
        lambda e: assert_self_repair(e, "3.3", at_least=0),
        lambda e: assert_minimality(e, "3.3", [*MOVERS, "3.3"], **NOTHING),
        lambda e: assert_faithfulness(e, [str(head) for head in e.checkpoint.shape.heads], near=(1, 0.1)),
    ],
)
def test_a_head_that_writes_nothing_cannot_be_shown_to_do_nothing(planted_ioi, claim):
    with pytest.raises(NotApplicable, match=r"is equal in the clean run|what (mean|zero) ablation puts there"):
        claim(planted_ioi)


def test_what_is_read_before_it_is_patched(planted_ioi):
    early = Metric("log_prob", token="next", at="S2")
    with pytest.raises(NotApplicable, match="as far as S2, which is read, on all 24 prompts"):
        head_patch_effect(planted_ioi, MOVERS, at="END", metric=early)


def test_cells_where_nothing_can_change_take_no_part(planted_ioi):
    table = patch_effect_sweep(planted_ioi, "z", positions=["IO", "S1", "S2", "END"])
    assert all(cell not in table for cell in table.undefined)
    assert table.columns == ("IO", "S1", "S2", "END")
    assert all(row[:2] == [None, None] for row in table.matrix())
    with pytest.raises(NotApplicable, match="z of 0.1 at IO is equal"):
        assert_cell(table, (Head(0, 1), "IO"), **NOTHING)
    heads = patch_effect_sweep(planted_ioi, "z", at="END")
    assert len(heads) + len(heads.undefined) == 20
    with pytest.raises(NotApplicable, match="z of 3.3 at END"):
        assert_top(heads, "3.3")
    with pytest.raises(NotApplicable, match="z of 3.3 at END"):
        assert_only(heads, "3.3", at_least=0.3)
    verdict = assert_only(heads, [*MOVERS, "2.0", "2.1"], at_least=0.3)
    assert verdict.details["undefined"] == f"{len(heads.undefined)} cells, where nothing could change, are left out"
    assert "undefined" in assert_every(heads, at_least=-1).details


def test_an_expected_matrix_has_no_effect_where_none_can_be(planted_ioi):
    table = patch_effect_sweep(planted_ioi, "resid_pre", positions=["S1", "S2"], layers=[0, 1])
    assert_matrix(table, [[0, 1], [0, 1]], within=0.01)
    with pytest.raises(AssertionError, match="0 S1 can have no effect for 0.500"):
        assert_matrix(table, [[0.5, 1], [0, 1]], within=0.01)
    with pytest.raises(NotApplicable, match="none of the expected cells is defined"):
        assert_matrix(table, {(0, "S1"): 0.0}, within=0.01)


def effect_of(checkpoint, tokenizer, population):
    """The effect on three prompts, the second of which is the same in both runs."""
    clean = [f"Then Tom and {name} went to the park . {name} gave a bag to" for name in ("Dan", "Sid", "Amy")]
    corrupted = [clean[0].replace("Dan gave", "Tom gave"), clean[1], clean[2].replace("Amy gave", "Tom gave")]
    data = from_strings(
        tokenizer,
        clean=clean,
        answers=[" Tom"] * 3,
        distractors=[" Dan", " Sid", " Amy"],
        corrupted={"first": corrupted},
        templates=["a", "b", "c"],
        bos=True,
        population=population,
    )
    experiment = type(experiment_on(checkpoint, 4))(checkpoint, data)
    return patch_effect(experiment, "resid_pre", 1, metric="logit_diff", corruption="first")


def test_sampled_prompts_on_which_both_runs_are_equal_are_left_out_and_counted(gpt2_like, tokenizer):
    effect = effect_of(gpt2_like, tokenizer, "sampled")
    assert len(effect.values) == 2
    assert effect.context.left_out == 1
    assert not any("Sid" in label for label in effect.labels)
    verdict = assert_measurement(effect, at_least=-99)
    assert "1 of 3 prompts left out: the intervention can change nothing there" in verdict.notes


def test_every_prompt_of_a_fixed_population_counts(gpt2_like, tokenizer):
    """The mean of a published figure is over all of its prompts; float noise does not decide how many these are."""
    effect = effect_of(gpt2_like, tokenizer, "fixed")
    sampled = effect_of(gpt2_like, tokenizer, "sampled")
    assert effect.values == pytest.approx([sampled.values[0], 0, sampled.values[1]], abs=1e-5)
    assert effect.context.left_out == 0
    note = "the intervention can change nothing on 1 of 3 prompts, which count as 0"
    assert note in assert_measurement(effect, at_least=-99).notes


def test_the_prompts_that_a_patch_changes_follow_from_the_tokens(small):
    """Independently: a residual stream differs exactly from the first differing token on, in a causal model.

    The heads of the planted model move little: there the two streams are compared.
    """
    experiment = experiment_on(small)
    by_stream = small.name == "planted-ioi"
    for run in ("s2-exchanged", "abc"):
        for layer in range(small.shape.n_layers):
            expected = rows_by_stream(experiment, run, layer) if by_stream else rows_by_tokens(experiment, run, layer)
            for at in ("IO", "S1", "S2", "S1+1", "END"):
                node = Node("resid_pre", layer, None, at)
                (rows,) = changed_prompts(experiment, [Patch((node,), from_run(experiment, [node], "clean"))], run)
                assert rows == expected(at), (run, at, layer)


def rows_by_tokens(experiment, run, layer):
    """The function from a position to the prompts on which a token there, or from layer 1 on before it, differs."""

    def rows(at):
        differing = []
        for clean, other in zip(experiment.data.clean.groups, experiment.data.run(run).groups, strict=True):
            differ = clean.tokens != other.tokens
            for i, row in enumerate(clean.rows):
                position = int(clean.positions[at][i])
                if differ[i, position] if layer == 0 else differ[i, : position + 1].any():
                    differing.append(row)
        return sorted(differing)

    return rows


def rows_by_stream(experiment, run, layer):
    """The function from a position to the prompts on which the streams of both runs differ there."""
    hook = experiment.checkpoint.sites.hook("resid_pre", layer)
    groups = experiment.data.clean.groups
    streams = zip(groups, experiment.activation(hook, "clean"), experiment.activation(hook, run), strict=True)
    distances = [(group, (clean - other).abs().amax(-1)) for group, clean, other in streams]

    def rows(at):
        return sorted(
            row
            for group, distance in distances
            for i, row in enumerate(group.rows)
            if distance[i, int(group.positions[at][i])] > 1e-3
        )

    return rows


def test_ablated_heads_that_are_already_so(planted_ioi):
    nodes = [Node("z", 3, 3, "END"), Node("z", 3, 0, "END")]
    patches = [Patch((node,), ablated(planted_ioi, [node], "zero")) for node in nodes]
    assert [len(rows) for rows in changed_prompts(planted_ioi, patches, "clean")] == [0, 24]
    # What is spared is not changed.
    spared = Patch((Node("z", 3),), ablated(planted_ioi, nodes, "zero"), (Node("z", 3),))
    assert changed_prompts(planted_ioi, [spared], "clean") == [[]]


def test_sweeps_of_ablations_and_paths(planted_ioi):
    assert "3.3" in map(str, ablation_effect_sweep(planted_ioi, ablation="zero").undefined)
    table = path_patch_effect_sweep(planted_ioi, "logits")
    assert "0.0" in map(str, table.undefined)
    assert not torch.isnan(torch.tensor([effect.value for effect in table.values()])).any()


def test_a_corruption_that_changes_no_token(planted_ioi):
    for claim in (
        lambda: assert_flips(planted_ioi, "clean", at_most=0.1),
        lambda: head_patch_effect(planted_ioi, "3.0", corruption="clean"),
        lambda: path_patch_effect_sweep(planted_ioi, "logits", corruption="clean"),
    ):
        with pytest.raises(UsageError, match="the corruption 'clean' of ioi/confirm changes no prompt"):
            claim()


def test_an_intervention_that_acts_in_one_template_only_says_nothing_of_others(gpt2_like, tokenizer):
    names = ["Tom", "Dan", "Sid", "Martin"]
    clean = [f"Then Tom and {name} went to the park . {name} gave a bag to" for name in names[1:]]
    corrupted = [clean[0].replace("Dan gave", "Tom gave"), *clean[1:]]
    data = from_strings(
        tokenizer, clean=clean, answers=[" Tom"] * 3, distractors=[f" {name}" for name in names[1:]],
        corrupted={"first": corrupted}, templates=["a", "b", "c"], bos=True, population="sampled",
    )  # fmt: skip
    experiment = type(experiment_on(gpt2_like, 4))(gpt2_like, data)
    with pytest.raises(NotApplicable, match="one template only"):
        patch_effect(experiment, "resid_pre", 1, metric="logit_diff", corruption="first")


def test_a_change_of_rank_is_no_rank(planted_ioi):
    verdict = assert_ablation_effect(planted_ioi, [*MOVERS, "4.1"], ablation="zero", metric="rank", at_least=0.5)
    assert verdict.outcome == "supported"


def test_a_circuit_of_all_heads_cannot_be_shown_complete(planted_ioi):
    with pytest.raises(NotApplicable, match="nothing is taken away"):
        assert_completeness(planted_ioi, [str(h) for h in planted_ioi.checkpoint.shape.heads], near=(0, 0.1))


def test_bad_tables_get_a_sentence(planted_ioi):
    table = patch_effect_sweep(planted_ioi, "z", at="END")
    for call, message in (
        (lambda: assert_top(table, ["3.0", "3.0"]), "a cell is named twice"),
        (lambda: assert_matrix(table, {"3.0": 0.6}, within=-0.1), "within is -0.1"),
        (lambda: assert_matrix(table, {"3.0": float("nan")}, within=0.1), "is not finite"),
    ):
        with pytest.raises(UsageError, match=message):
            call()
    # However it is named, a cell where nothing can change is left out and counted.
    for key in (Head(0, 0), "0.0", (0, 0)):
        assert "undefined" in assert_matrix(table, {key: 0.0, "3.0": 0.6275}, within=0.01).details


def test_an_undefined_cell_of_a_noised_share_recovers_all(planted_ioi):
    table = patch_effect_sweep(planted_ioi, "resid_pre", positions=["S1", "S2"], layers=[0], direction="noise")
    assert_matrix(table, [[1, 0]], within=0.01)
    with pytest.raises(AssertionError, match="0 S1 can have no effect for 0.000"):
        assert_matrix(table, [[0, 0]], within=0.01)
