"""Protocols: deliberate mistakes, and changes that must make no difference."""

from dataclasses import replace

import pytest
import torch
from models import experiment_on

from pytest_interp import Experiment, from_strings
from pytest_interp.errors import NotApplicable
from pytest_interp.measure import ablation_effect, attention, head_patch_effect, logit_diff, next_token
from pytest_interp.tasks.protocols import (
    WRONG,
    answer_and_distractor_exchanged,
    drawn_with,
    end_one_earlier,
    in_another_order,
    in_batches,
    names_permuted,
    positions_one_earlier,
    right_padded,
    runs_exchanged,
    s1_read_for_s2,
    s2_read_for_end,
)


def by(experiment, protocol):
    return replace(experiment, data=protocol(experiment.data))


def test_reading_one_token_early_reads_the_logits_there(small):
    experiment = experiment_on(small, n=12)
    early = logit_diff(by(experiment, end_one_earlier)).values
    for group in experiment.data.clean.groups:
        index = group.tokens.shape[1] - 2
        logits = small.run(group.tokens, positions=group.positions["END"][:, None] - 1).logits[:, 0]
        for i, row in enumerate(group.rows):
            expected = float(logits[i, group.answers[i]] - logits[i, group.distractors[i]])
            assert early[row] == pytest.approx(expected, abs=1e-5), index


@pytest.mark.parametrize(
    "protocol", [right_padded(0), end_one_earlier, answer_and_distractor_exchanged, names_permuted, runs_exchanged]
)
def test_a_protocol_stays_where_prompts_are_drawn_again_or_taken_from(small, protocol):
    data, anew = experiment_on(small, n=24).data, drawn_with(seed=lambda data: data.seed + 1)
    assert anew(protocol(data)).digest == protocol(anew(data)).digest != protocol(data).digest
    # (of many prompts: some protocols look at all of them)
    rows = range(len(data.clean))
    assert protocol(data).rebuild(rows).digest == protocol(data.rebuild(rows)).digest


def test_index_minus_one_of_padded_prompts_is_read_at_the_padding(small):
    experiment = experiment_on(small, n=12)
    pad = small.tokenizer.eos_token_id
    padded = by(experiment, right_padded(pad))
    assert padded.data.name == f"{experiment.data.name}, right-padded"
    longest = max(group.tokens.shape[1] for group in experiment.data.clean.groups)
    values, own = logit_diff(padded).values, logit_diff(experiment).values
    for group in experiment.data.clean.groups:
        for i, row in enumerate(group.rows):
            tokens = group.tokens[i].tolist() + [pad] * (longest + 1 - group.tokens.shape[1])
            logits = small.run(torch.tensor([tokens])).logits[0]
            expected = float(logits[group.answers[i]] - logits[group.distractors[i]])
            assert values[row] == pytest.approx(expected, abs=1e-4)
    assert values != own
    # The positions are as they were: a patch at END is where END is.
    assert head_patch_effect(padded, "2.0", at="END", metric="kl").values
    assert padded.data.digest != by(experiment, right_padded(pad + 1)).data.digest
    two = padded.data.rebuild([0, 1])
    assert (len(two.clean), two.name) == (2, f"{experiment.data.name}, 2 of 12, right-padded")


def test_a_position_mixed_up_is_the_other_position(planted_ioi):
    mixed = by(planted_ioi, s1_read_for_s2)
    assert attention(mixed, "2.0", at="END", to="S2").value == attention(planted_ioi, "2.0", at="END", to="S1").value
    assert logit_diff(mixed).values == logit_diff(planted_ioi).values
    mixed = by(planted_ioi, s2_read_for_end)
    mixed_up, other = (head_patch_effect(e, "3.0", at=at).value for e, at in ((mixed, "END"), (planted_ioi, "S2")))
    assert mixed_up == other
    assert logit_diff(mixed).values == logit_diff(planted_ioi).values


def test_other_positions_one_earlier(planted_ioi):
    early = by(planted_ioi, WRONG["others one earlier"])
    for group, before in zip(early.data.clean.groups, planted_ioi.data.clean.groups, strict=True):
        assert (group.positions["S2"] == before.positions["S2"] - 1).all()
        assert (group.positions["END"] == before.positions["END"]).all()
    assert (
        attention(early, "3.0", at="END", to="IO").value < 0.01 < attention(planted_ioi, "3.0", at="END", to="IO").value
    )


def test_labels_of_others_say_nothing(planted_ioi):
    permuted = by(planted_ioi, names_permuted)
    assert abs(logit_diff(permuted).value) < 0.1
    for prompt, own in zip(permuted.data.clean.prompts, planted_ioi.data.clean.prompts, strict=True):
        assert not {prompt.answer, prompt.distractor} & {own.answer, own.distractor}
    # The labels of a prompt and its token ids are permuted alike.
    tokenizer = planted_ioi.checkpoint.tokenizer
    for group in permuted.data.clean.groups:
        for i, row in enumerate(group.rows):
            assert tokenizer.decode([int(group.answers[i])]) == permuted.data.clean.prompts[row].answer.strip()


def test_signs(planted_ioi):
    exchanged = by(planted_ioi, WRONG["answer exchanged"])
    assert logit_diff(exchanged).value == pytest.approx(-logit_diff(planted_ioi).value)
    recovered = [head_patch_effect(e, "3.0", at="END").value for e in (exchanged, planted_ioi)]
    assert recovered[0] == pytest.approx(recovered[1])
    runs = by(planted_ioi, runs_exchanged)
    assert logit_diff(runs).values == logit_diff(planted_ioi, run="s2-exchanged").values
    assert logit_diff(runs, run="s2-exchanged").values == logit_diff(planted_ioi).values


@pytest.mark.parametrize("size", [1, 5])
def test_batches_and_order_change_nothing(small, size):
    experiment = experiment_on(small, n=24)
    whole = logit_diff(experiment).values
    knocked_out = ablation_effect(experiment, "1.0").values
    kl = next_token(experiment, "log_prob").values
    small_batches = by(experiment, in_batches(size))
    assert max(len(group.rows) for group in small_batches.data.clean.groups) == size
    for measure, before in ((logit_diff, whole), (lambda e: ablation_effect(e, "1.0"), knocked_out), (next_token, kl)):
        assert measure(small_batches).values == pytest.approx(before, abs=2e-5)
    mixed = by(experiment, in_another_order)
    assert mixed.data.clean.prompts != experiment.data.clean.prompts
    assert sorted(logit_diff(mixed).values) == pytest.approx(sorted(whole), abs=2e-5)


def test_each_is_another_data_set_also_of_some_rows(planted_ioi):
    digests = {planted_ioi.data.digest}
    for protocol in (*WRONG.values(), in_batches(3), in_another_order):
        changed = protocol(planted_ioi.data)
        digests.add(changed.digest)
        selected = changed.select(order="ABBA")
        if protocol is not in_another_order:
            assert selected.clean.digest != planted_ioi.data.select(order="ABBA").clean.digest
        assert len(selected.clean) == len(changed.clean) / 2
    assert len(digests) == 3 + len(WRONG)


def test_what_a_data_set_does_not_have_is_not_applicable(planted):
    data = from_strings(
        planted.tokenizer,
        clean=["When Mary and John met", "When John and Mary met"],
        answers=[" Mary", " John"],
        distractors=[" John", " Mary"],
        bos=True,
        population="fixed",
    )
    for protocol, message in (
        (s1_read_for_s2, "no positions S1 and S2"),
        (s2_read_for_end, "no position S2"),
        (positions_one_earlier, "no position but END"),
        (names_permuted, "share their answers"),
        (runs_exchanged, "has no corruption"),
    ):
        with pytest.raises(NotApplicable, match=message):
            protocol(data)
    assert len(Experiment(planted, end_one_earlier(data)).data.clean.groups[0].tokens[0]) == 5
