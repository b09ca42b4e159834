"""Each measurement on the planted model, where the truth follows from the construction, and where it must not hold."""

from functools import partial

import numpy as np
import pytest
import torch
from test_planted import variant

from conftest import experiment_on
from pytest_interp import Head
from pytest_interp.checkpoints.planted.rules import RULES, Match, Rule, Write, with_rule, without
from pytest_interp.engine.patch import Node, ablated
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    accuracy,
    attention,
    backup_effect,
    copy_score,
    copy_scores,
    direct_logit_attribution,
    head_attributions,
    head_patch_effect,
    logit_diff,
)
from pytest_interp.measure.backup import self_repair
from pytest_interp.measure.copying import _rank
from pytest_interp.tasks import single_token_names

MOVERS, BACKUP, NEGATIVE = ("3.0", "3.1", "3.2"), "4.1", "4.0"


@pytest.fixture(scope="module")
def names(planted):
    return single_token_names(planted.tokenizer)


# ---- logit difference


def test_logit_diff_and_accuracy(planted_ioi):
    assert logit_diff(planted_ioi).value == pytest.approx(8.854, abs=1e-3)
    assert accuracy(planted_ioi).value == 1.0
    # Exchanging S2 makes the same model prefer the other name by as much.
    assert logit_diff(planted_ioi, run="s2-exchanged").value == pytest.approx(-8.854, abs=1e-3)
    assert accuracy(planted_ioi, run="s2-exchanged").value == 0.0
    assert logit_diff(planted_ioi, run="abc").value == pytest.approx(0, abs=1e-4)


def test_a_tie_is_not_right(planted_ioi):
    assert accuracy(planted_ioi, run="random-names").tolerance >= 0.5
    assert accuracy(planted_ioi).tolerance < 1e-6


def test_logit_diff_by_hand(gpt2_like):
    experiment = experiment_on(gpt2_like, n=6)
    values = logit_diff(experiment).values
    for group in experiment.data.clean.groups:
        for i, row in enumerate(group.rows):
            logits = gpt2_like._bridge(group.tokens[i : i + 1].to(gpt2_like.device))[0, -1]
            by_hand = float(logits[group.answers[i]] - logits[group.distractors[i]])
            assert values[row] == pytest.approx(by_hand, abs=1e-4)


# ---- attribution


def test_attributions_are_the_gains(planted_ioi):
    table = {str(head): one.value for head, one in head_attributions(planted_ioi).items()}
    kept = 1 - 4 * 2.4787e-3  # IO minus S after the softmax, inhibition 6
    assert table["3.0"] == pytest.approx(6 * kept, abs=0.02)
    assert table["3.1"] == pytest.approx(4 * kept, abs=0.02)
    assert table["3.2"] == pytest.approx(3 * kept, abs=0.02)
    assert table["4.0"] == pytest.approx(-4, abs=1e-3)
    silent = [head for head in table if head not in (*MOVERS, "4.0", "4.1")]
    assert max(abs(table[head]) for head in silent) < 1e-4
    # Without norm, embedding or MLP in the output subspace, the heads are all there is.
    assert sum(table.values()) == pytest.approx(logit_diff(planted_ioi).value, abs=1e-3)
    assert direct_logit_attribution(planted_ioi, MOVERS).value == pytest.approx(13 * kept, abs=0.05)


# ---- attention


@pytest.mark.parametrize(
    ("head", "at", "to", "expected"),
    [
        ("0.0", "S1+1", "S1", 1), ("0.1", "S2", "S1", 1), ("1.0", "S2", "S1+1", 1), ("2.0", "END", "S2", 1),
        ("2.1", "END", "S2", 1), ("3.0", "END", "IO", 1), ("3.2", "END", "IO", 1), ("4.0", "END", "IO", 1),
        ("4.1", "END", "IO", 0), ("0.0", "END", "IO", 0), ("2.0", "END", "IO", 0), ("3.0", "END", "S2", 0),
    ],
)  # fmt: skip
def test_each_head_looks_where_its_rule_says(planted_ioi, head, at, to, expected):
    assert attention(planted_ioi, head, at=at, to=to).value == pytest.approx(expected, abs=0.02)


def test_attention_minus_others(planted_ioi):
    one = attention(planted_ioi, "2.0", at="END", to="S2", more_than=("IO", "S1"))
    assert one.value == pytest.approx(1, abs=0.02)
    assert attention(planted_ioi, "3.0", at="END", to="S1", more_than=("IO",)).value == pytest.approx(-1, abs=0.02)


# ---- copying


def test_copy_scores_of_both_signs(planted, names):
    for head in (*MOVERS, BACKUP, "1.0"):
        assert copy_score(planted, head, names=names).value == 1.0
        assert copy_score(planted, head, names=names, sign=-1).value == 0.0
    assert copy_score(planted, NEGATIVE, names=names, sign=-1).value == 1.0
    assert copy_score(planted, NEGATIVE, names=names).value == 0.0


@pytest.mark.parametrize("head", ["0.0", "0.1", "2.0", "0.2"])
def test_a_head_that_writes_nothing_into_the_unembedding_has_no_score(planted, names, head):
    with pytest.raises(NotApplicable, match="writes nothing into the unembedding"):
        copy_score(planted, head, names=names)


def test_copy_score_by_hand(gpt2_like, llama_like):
    """Einsum on raw pieces, ranks by sorting, in float64."""
    for checkpoint in (gpt2_like, llama_like):
        bridge = checkpoint._bridge
        names = single_token_names(checkpoint.tokenizer)
        ids = torch.tensor([checkpoint.tokenizer.convert_tokens_to_ids(name) for name in names])
        x = bridge.W_E[ids]
        x = (x + bridge.blocks[0].mlp(bridge.blocks[0].ln2(x[:, None]))[:, 0]).double()
        for head in ("0.1", "2.3"):
            layer, index = map(int, head.split("."))
            group = checkpoint.shape.n_heads // checkpoint.shape.n_kv_heads
            w_v = bridge.blocks[layer].attn.W_V[index // group].double()
            w_o = bridge.blocks[layer].attn.W_O[index].double()
            logits = torch.einsum("nd,dk,ke,ev->nv", x - x.mean(-1, keepdim=True), w_v, w_o, bridge.W_U.double())
            if checkpoint is llama_like:
                logits = torch.einsum("nd,dk,ke,ev->nv", x, w_v, w_o, bridge.W_U.double())
            order = logits.argsort(dim=1, descending=True)
            by_hand = [int((order[i] == token).nonzero()) < 20 for i, token in enumerate(ids)]
            assert copy_score(checkpoint, head, names=names, k=20).values == tuple(map(float, by_hand))


@pytest.mark.parametrize("heads_at_once", [1, 2, 99])
def test_copy_scores_of_a_layer_are_those_of_its_heads(gpt2_like, llama_like, monkeypatch, heads_at_once):
    for checkpoint in (gpt2_like, llama_like):
        names = single_token_names(checkpoint.tokenizer)
        monkeypatch.setattr(checkpoint, "budget", heads_at_once * 16 * len(names) * checkpoint.shape.d_vocab)
        for sign in (1, -1):
            with checkpoint.scratch():
                table = copy_scores(checkpoint, names=names, k=20, sign=sign)
            assert list(table) == list(checkpoint.shape.heads)
            for head, cell in table.items():
                with checkpoint.scratch():
                    alone = copy_score(checkpoint, head, names=names, k=20, sign=sign)
                assert (cell.values, cell.labels, cell.quantity) == (alone.values, alone.labels, alone.quantity)
            assert 0 < np.mean([cell.value for cell in table.values()]) < 1


def test_a_rank_close_to_the_kth_is_told():
    """Against a sort of the others, ties included."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 6, (40, 12), generator=generator).float()
    tokens = torch.randint(0, 12, (40,), generator=generator)
    for k in (1, 3, 11):
        ranks, close = _rank(logits, tokens, k)
        near = 0
        for row, token in zip(logits, tokens.tolist(), strict=True):
            others = sorted((value for i, value in enumerate(row.tolist()) if i != token), reverse=True)
            near += others[k - 1] == row[token]
        assert close == pytest.approx(near / 40)
        assert ranks.tolist() == [(row >= row[token]).sum() for row, token in zip(logits, tokens, strict=True)]


def test_a_tie_counts_against_the_name(planted, names, monkeypatch):
    """A head that ranks every token alike would otherwise have a perfect score."""
    flat = torch.zeros(planted.shape.d_model, planted.shape.d_vocab, device=planted.device)
    flat[:, 1] = -1.0  # one token below all others: the spread is not zero, and all names tie
    monkeypatch.setattr(type(planted), "w_u", lambda _: flat)
    with planted.scratch():  # ranks that are known of the weights are not those of another unembedding
        score = copy_score(planted, "3.0", names=names, k=5)
    assert score.value == 0.0


def test_nan_weights_have_no_copy_score(planted, names):
    with planted.weights(3, "v") as weight:
        weight.fill_(float("nan"))
        with pytest.raises(UsageError, match="NaN or infinite logits"):
            copy_score(planted, "3.0", names=names)
        with pytest.raises(UsageError, match="planted-ioi (writes|gives) NaN"):
            copy_scores(planted, names=names)


@pytest.mark.parametrize("measure", [partial(copy_score, head="3.0"), copy_scores])
@pytest.mark.parametrize("k", [0, 500])
def test_a_k_outside_the_vocabulary(planted, names, k, measure):
    with pytest.raises(UsageError, match=f"k is {k} and sign is 1; allowed: k from 1 to 178"):
        measure(planted, names=names, k=k)
    with pytest.raises(UsageError, match="a copy score needs names"):
        measure(planted, names=[])


def test_a_name_of_several_tokens(planted):
    with pytest.raises(UsageError, match="' Mary Ann' is 2 tokens here"):
        copy_score(planted, "3.0", names=["Mary Ann"])


# ---- patching


def test_patch_effects_follow_from_the_construction(planted_ioi):
    total = 2 * logit_diff(planted_ioi).value
    # All movers at once: 13 logits of IO for 13 of S, seen by the negative head, which turns round.
    together = head_patch_effect(planted_ioi, MOVERS, at="END")
    assert together.value > 0.7
    # The inhibition heads stand in for each other: each alone moves about half, both move everything but what
    # the induction head has already put at S2.
    both = head_patch_effect(planted_ioi, ("2.0", "2.1"), at="END")
    assert both.value == pytest.approx(1, abs=0.01)
    assert 0.4 < head_patch_effect(planted_ioi, "2.0", at="END").value < 0.6
    # A head that reads before S2 is invisible to the exchange of S2, at END a head of the chain too.
    for head, at in (("0.0", "S1+1"), ("0.1", "END"), ("3.3", None)):
        with pytest.raises(NotApplicable, match="is equal in the clean run and under 's2-exchanged' on all 24 prompts"):
            head_patch_effect(planted_ioi, head, at=at)
    change = head_patch_effect(planted_ioi, NEGATIVE, at="END", metric="logit_diff")
    assert change.value == pytest.approx(-8, abs=0.01)
    assert head_patch_effect(planted_ioi, NEGATIVE, at="END").value == pytest.approx(-8 / total, abs=1e-3)


def test_everything_from_the_clean_run_recovers_the_clean_run(planted_ioi):
    heads = [Head(layer, head) for layer in range(5) for head in range(4)]
    assert head_patch_effect(planted_ioi, heads).value == pytest.approx(1, abs=1e-5)
    assert head_patch_effect(planted_ioi, heads, direction="noise", metric="logit_diff").value == pytest.approx(
        -2 * logit_diff(planted_ioi).value, abs=1e-3
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": "5.0"}, r"no head 5.0: its layers are 0 to 4, the heads of each 0 to 3"),
        ({"at": "S3"}, "no position 'S3'; it has .*nearest: S2"),
        ({"corruption": "abcd"}, "no corruption 'abcd'; .*nearest: abc"),
        ({"direction": "up"}, "direction is 'up'"),
        ({"activation": "zz"}, "activation is 'zz'"),
        ({"metric": "kll"}, "'kll' is no metric; .*nearest: kl"),
    ],
)
def test_bad_patches_get_a_sentence(planted_ioi, change, message):
    with pytest.raises(UsageError, match=message):
        head_patch_effect(planted_ioi, **{"heads": "3.0", **change})


def test_grouped_key_value_heads_are_patched_once_and_named(llama_like):
    experiment = experiment_on(llama_like, n=6)
    one = head_patch_effect(experiment, "1.4", activation="v", metric="logit_diff")
    assert one.about["kv_heads"] == {"kv 1.1": ["1.3", "1.4", "1.5"]}
    same = head_patch_effect(experiment, ("1.3", "1.5"), activation="v", metric="logit_diff")
    assert same.values == pytest.approx(one.values, abs=1e-6)
    other = head_patch_effect(experiment, "1.0", activation="v", metric="logit_diff")
    assert other.values != pytest.approx(one.values, abs=1e-4)


# ---- backup


def test_the_backup_wakes_when_the_movers_are_knocked_out(planted_ioi):
    effect = backup_effect(planted_ioi, MOVERS, [BACKUP, NEGATIVE], ablation="zero")
    backup, negative = Head.parse(BACKUP), Head.parse(NEGATIVE)
    assert effect.before[backup].value == pytest.approx(0, abs=0.02)
    assert effect.after[backup].value == pytest.approx(4.99, abs=0.02)
    assert effect.before[negative].value == pytest.approx(-4, abs=1e-3)
    assert effect.after[negative].value == pytest.approx(0, abs=1e-3)
    assert effect.total_after.value == pytest.approx(4.99, abs=0.02)
    assert effect.naive.value == pytest.approx(8.854 - 12.87, abs=0.02)
    assert effect.rise([backup], "live").value == pytest.approx(effect.rise([backup]).value, abs=1e-5)
    # Everything that moved is in the two heads.
    rise = effect.rise([backup, negative]).value
    assert effect.total_after.value - effect.naive.value == pytest.approx(rise, abs=1e-2)


def test_without_a_backup_only_the_negative_head_reacts(tmp_path):
    experiment = experiment_on(variant(tmp_path, without(Head(4, 1))))
    effect = backup_effect(experiment, MOVERS, [NEGATIVE], ablation="zero")
    assert effect.rise([Head.parse(NEGATIVE)]).value == pytest.approx(4, abs=1e-3)
    assert effect.total_after.value == pytest.approx(0, abs=1e-3)


def test_self_repair_is_the_share_that_is_made_up(planted_ioi):
    # Taken away 12.87, made up 4.99 by the backup and 4 by the released negative head.
    assert self_repair(planted_ioi, MOVERS, ablation="zero").value == pytest.approx(8.99 / 12.87, abs=0.01)


def test_the_mean_is_over_prompts_of_the_same_template(planted_ioi):
    node = Node("z", 3, 0, "END")
    source = ablated(planted_ioi, [node], "mean")
    reference, clean = planted_ioi.data.reference, planted_ioi.data.clean
    hook = planted_ioi.checkpoint.hook("z", 3)
    for index, group in enumerate(clean.groups[:2]):
        means = source.give(hook, index, torch.arange(len(group.rows)), torch.empty(0))
        for i, row in enumerate(group.rows):
            rows = []
            for other in reference.groups:
                z = planted_ioi.checkpoint.run(other.tokens, keep=[hook]).kept[hook]
                same = [reference.prompts[r].template == clean.prompts[row].template for r in other.rows]
                rows += [z[j] for j, chosen in enumerate(same) if chosen]
            assert len(rows) == 16
            assert torch.allclose(torch.stack(rows).mean(0), means[i], atol=1e-6)


@pytest.mark.parametrize(
    ("out", "backups", "ablation", "error", "message"),
    [
        (["3.0"], ["3.0", "4.1"], "mean", UsageError, "3.0 would be knocked out and watched"),
        (["4.0"], ["3.0"], "mean", NotApplicable, "none of 3.0 comes after 4.0"),
        (["3.0"], ["4.1"], "resampled", UsageError, "ablation is 'resampled'"),
    ],
)
def test_bad_knock_outs_get_a_sentence(planted_ioi, out, backups, ablation, error, message):
    with pytest.raises(error, match=message):
        backup_effect(planted_ioi, out, backups, ablation=ablation)


def test_mean_ablation_needs_a_reference(gpt2_like):
    from pytest_interp import Experiment
    from pytest_interp.tasks import p8

    experiment = Experiment(gpt2_like, p8(gpt2_like.tokenizer))
    with pytest.raises(UsageError, match="no reference prompts to take means over"):
        backup_effect(experiment, "0.0", "1.0", ablation="mean")
    assert backup_effect(experiment, "0.0", "1.0", ablation="zero").total_after.value is not None


# ---- where a measurement must be wrong: one rule changed


def test_a_mover_that_does_not_copy(tmp_path, names):
    # It reads IO and writes the code of the token before it.
    rule = Rule(Head(3, 0), "name_mover", RULES[Head(3, 0)].scores, 10, (Write("previous", "output", 6),))
    model = variant(tmp_path, with_rule(rule))
    experiment = experiment_on(model)
    assert attention(experiment, "3.0", at="END", to="IO").value > 0.98
    assert direct_logit_attribution(experiment, "3.0").value < 0.1


def test_a_mover_that_copies_the_subject(tmp_path):
    # Inhibition that attracts: it reads S1 and S2.
    scores = (Match("is_end", "is_name", 20), Match("inhibition", "token", 6))
    model = variant(tmp_path, with_rule(Rule(Head(3, 0), "name_mover", scores, 10, (Write("token", "output", 6),))))
    experiment = experiment_on(model)
    assert attention(experiment, "3.0", at="END", to="IO", more_than=("S1", "S2")).value < -0.9
    assert direct_logit_attribution(experiment, "3.0").value < -5


def test_what_transformers_adds_to_modules_is_no_damage(planted, monkeypatch):
    """It gives every module a method when it first builds a model, which may be after another was loaded."""

    def added(module):
        return module

    added.__module__ = "transformers.modeling_utils"
    monkeypatch.setattr(torch.nn.Module, "added", added, raising=False)
    assert planted.disturbed() == []
    added.__module__ = "test_measure"
    assert planted.disturbed() == ["torch.nn.modules.module.Module.added replaced"]


def test_weights_are_restored_bit_for_bit_and_the_memo_is_exchanged(planted, planted_ioi):
    before = logit_diff(planted_ioi).values
    with pytest.raises(KeyboardInterrupt), planted.weights(3, "o") as weight:
        weight.zero_()
        assert logit_diff(planted_ioi).value == pytest.approx(4.99, abs=0.02)
        raise KeyboardInterrupt
    assert logit_diff(planted_ioi).values == before
    assert planted.disturbed() == []


def test_controls_of_key_value_heads_are_other_key_value_heads(llama_like):
    from pytest_interp.assertions.controls import draw_controls

    for heads in draw_controls(llama_like, [Head(1, 0)], 3, seed=0, shared=True):
        assert {llama_like.kv_head(head).head for head in heads} == {1}
    assert draw_controls(llama_like, [Head(1, 0), Head(1, 3)], 3, seed=0, shared=True) == []


def test_a_task_of_ones_own_can_be_patched_at_its_positions(gpt2_like):
    from pytest_interp import Experiment, from_strings

    text = "When Mary and John met near the beach, {} gave a book to"
    data = from_strings(
        gpt2_like.tokenizer, clean=[text.format("John")], answers=[" Mary"], distractors=[" John"],
        corrupted={"giver": [text.format("Mary")]}, positions={"giver": ["John"]}, bos=True,
        population="fixed",
    )  # fmt: skip
    experiment = Experiment(gpt2_like, data)
    for direction in ("denoise", "noise"):
        effect = head_patch_effect(
            experiment, "1.1", at="giver", direction=direction, corruption="giver", metric="logit_diff"
        )
        assert abs(effect.value) > 1e-3


def test_what_a_head_writes_from_each_source_adds_up(gpt2_like):
    """Over every position of P8 the parts of a head's attribution are its attribution."""
    from pytest_interp import Experiment
    from pytest_interp.measure import head_attributions, source_attributions
    from pytest_interp.tasks import from_strings

    words = ["When", "Mary", "and", "John", "went", "to", "the", "shops", ",", "John", "gave", "the", "bag", "to"]
    data = from_strings(
        gpt2_like.tokenizer, clean=[" ".join(words)], answers=["Mary"], distractors=["John"], bos=False,
        population="fixed",
        positions={f"w{i}": [word] for i, word in enumerate(words) if words.count(word) == 1} | {"BEFORE": ["John"]},
    )  # fmt: skip
    experiment = Experiment(gpt2_like, data)
    parts = [source_attributions(experiment, name, of="logit_diff") for name in data.clean.position_names]
    whole = head_attributions(experiment)
    for head in (Head(0, 1), Head(2, 3)):
        # "John" and "to" stand twice: what their first mentions write is the rest, found by hand.
        pattern = gpt2_like.run(data.clean.groups[0].tokens, keep=[gpt2_like.hook("pattern", head.layer)])
        read = pattern.kept[gpt2_like.hook("pattern", head.layer)][0, head.head, -1]
        v = gpt2_like.run(data.clean.groups[0].tokens, keep=[gpt2_like.hook("v", head.layer)])
        value = v.kept[gpt2_like.hook("v", head.layer)][0, :, head.head]
        w_u = gpt2_like.w_u()
        direction = w_u[:, data.clean.groups[0].answers[0]] - w_u[:, data.clean.groups[0].distractors[0]]
        scale = experiment.activation(gpt2_like.scale_hook)[0][0, -1, 0]
        by_hand = read * ((value @ gpt2_like.w_o(head.layer)[head.head]) @ direction) / scale
        covered = {int(data.clean.groups[0].positions[name][0]) for name in data.clean.position_names}
        rest = float(sum(by_hand[i] for i in range(len(words)) if i not in covered))
        assert sum(part[head].value for part in parts) + rest == pytest.approx(whole[head].value, abs=1e-4)


def test_attributions_without_the_movers(planted_ioi):
    from pytest_interp.measure import attributions_without

    table = attributions_without(planted_ioi, MOVERS, ablation="zero")
    effect = backup_effect(planted_ioi, MOVERS, ["4.0", "4.1"], ablation="zero")
    assert {table[Head.parse(head)].value for head in MOVERS} == {0.0}
    for head in ("4.0", "4.1"):
        assert table[Head.parse(head)].value == pytest.approx(effect.after_live[Head.parse(head)].value, abs=1e-6)


def test_given_tokens_said_twice(planted):
    from pytest_interp.tasks import doubled_of

    data = doubled_of(planted.tokenizer, [[5, 9, 2], [7, 3, 8]], bos=True)
    assert data.clean.groups[0].tokens.tolist() == [[0, 5, 9, 2, 5, 9, 2], [0, 7, 3, 8, 7, 3, 8]]
    assert data.population == "fixed"
    with pytest.raises(UsageError, match=r"2 sequences of lengths \[1, 2\] were passed; pass at least one"):
        doubled_of(planted.tokenizer, [[1], [1, 2]], bos=True)


def test_parts_of_a_measurement(planted_ioi):
    from pytest_interp.measure import by_part

    whole = logit_diff(planted_ioi)
    orders = by_part(planted_ioi, whole, "order")
    assert {key[0]: one.value for key, one in orders.items()} == {
        order: pytest.approx(logit_diff(planted_ioi.where(order=order)).value) for order in ("ABBA", "BABA")
    }
    wordings = by_part(planted_ioi, whole, "template")
    assert sum(len(one.values) for one in wordings.values()) == len(whole.values)
    assert all(set(one.clusters) == {" ".join(pair) for pair in one.names} for one in wordings.values())
    with pytest.raises(UsageError, match="not every prompt of ioi/confirm has 'colour'; allowed: IO, S, object, order"):
        by_part(planted_ioi, whole, "colour")
    with pytest.raises(UsageError, match="pass a measurement of this experiment"):
        by_part(planted_ioi, logit_diff(planted_ioi.where(order="ABBA")), "order")


def test_one_prompt_as_it_is_chosen(planted):
    from pytest_interp.tasks import ioi_grid, ioi_prompt, single_token_names

    io, s, *_ = single_token_names(planted.tokenizer, "confirm")
    grid = ioi_grid(planted.tokenizer, [(io, s)], half="confirm", bos=True)
    texts = [
        ioi_prompt(
            planted.tokenizer, io, s, wording=wording, order=order, place=0, thing=0, half="confirm", bos=True
        ).clean.prompts[0].text
        for wording in range(12)
        for order in ("ABBA", "BABA")
    ]  # fmt: skip
    assert texts == [prompt.text for prompt in grid.clean.prompts]
