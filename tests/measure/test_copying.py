"""Copy scores on the planted model, by hand, and where there is none."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from models import experiment_on, variant

from pytest_interp import Head
from pytest_interp.checkpoints.forward import Forward
from pytest_interp.checkpoints.planted.rules import RULES, Rule, Write, with_rule
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    attention,
    copy_score,
    copy_score_sweep,
    direct_logit_attribution,
)
from pytest_interp.measure.copying import _ranks_of
from pytest_interp.tasks import single_token_names

MOVERS, BACKUP, NEGATIVE = ("3.0", "3.1", "3.2"), "4.1", "4.0"


@pytest.fixture(scope="module")
def names(planted):
    return single_token_names(planted.tokenizer)


def test_copy_scores_of_both_signs(planted, names):
    for head in (*MOVERS, BACKUP, "1.0"):
        assert copy_score(planted, head, names=names).value == 1.0
        assert copy_score(planted, head, names=names, negative=True).value == 0.0
    assert copy_score(planted, NEGATIVE, names=names, negative=True).value == 1.0
    assert copy_score(planted, NEGATIVE, names=names).value == 0.0


@pytest.mark.parametrize("head", ["0.0", "0.1", "2.0", "0.2"])
def test_a_head_that_writes_nothing_into_the_unembedding_has_no_score(planted, names, head):
    with pytest.raises(NotApplicable, match="writes nothing into the unembedding"):
        copy_score(planted, head, names=names)


def test_copy_score_by_hand(gpt2_like, llama_like):
    """Einsum on raw pieces, ranks by sorting, in float64."""
    for checkpoint in (gpt2_like, llama_like):
        bridge = checkpoint.bridge
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
            with checkpoint.guard.isolated_memory():
                table = copy_score_sweep(checkpoint, names=names, k=20, negative=sign < 0)
            assert list(table) == list(checkpoint.shape.heads)
            for head, cell in table.items():
                with checkpoint.guard.isolated_memory():
                    alone = copy_score(checkpoint, head, names=names, k=20, negative=sign < 0)
                assert (cell.values, cell.labels, cell.quantity) == (alone.values, alone.labels, alone.quantity)
            assert 0 < np.mean([cell.value for cell in table.values()]) < 1


def test_names_are_embedded_once_for_all_layers_and_heads(gpt2_like, monkeypatch):
    passes, run = [], Forward.run
    monkeypatch.setattr(Forward, "run", lambda self, *a, **k: passes.append(1) or run(self, *a, **k))
    names = single_token_names(gpt2_like.tokenizer)
    with gpt2_like.guard.isolated_memory():
        copy_score_sweep(gpt2_like, names=names, reach=0.5)
        assert len(passes) == 2  # a quarter of the names, and all of them
        copy_score(gpt2_like, "0.0", names=names)
    assert len(passes) == 2


def test_a_rank_close_to_the_kth_is_told():
    """Against a sort of the others, ties included."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 6, (40, 12), generator=generator).float()
    tokens = torch.randint(0, 12, (40,), generator=generator)
    for k, negative in itertools.product((1, 3, 11), (False, True)):
        ranks, close = _ranks_of(-logits if negative else logits, tokens, k, negative)
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
    monkeypatch.setattr(type(planted.weights), "w_u", lambda _: flat)
    with planted.guard.isolated_memory():  # ranks that are known of the weights are not those of another unembedding
        score = copy_score(planted, "3.0", names=names, k=5)
    assert score.value == 0.0


def test_nan_weights_have_no_copy_score(planted, names):
    with planted.edited_weight(3, "v") as weight:
        weight.fill_(float("nan"))
        with pytest.raises(UsageError, match="NaN or infinite logits"):
            copy_score(planted, "3.0", names=names)
        with pytest.raises(UsageError, match="planted-ioi (writes|gives) NaN"):
            copy_score_sweep(planted, names=names)


@pytest.mark.parametrize("measure", [partial(copy_score, head="3.0"), copy_score_sweep])
@pytest.mark.parametrize("k", [0, 500])
def test_a_k_outside_the_vocabulary(planted, names, k, measure):
    with pytest.raises(UsageError, match=f"k is {k}; allowed: 1 to 178"):
        measure(planted, names=names, k=k)
    with pytest.raises(UsageError, match="a copy score needs names"):
        measure(planted, names=[])


def test_a_name_of_several_tokens(planted):
    with pytest.raises(UsageError, match="' Mary Ann' is 2 tokens here"):
        copy_score(planted, "3.0", names=["Mary Ann"])


def test_a_mover_that_does_not_copy(tmp_path, names):
    # It reads IO and writes the code of the token before it.
    rule = Rule(Head(3, 0), "name_mover", RULES[Head(3, 0)].scores, 10, (Write("previous", "output", 6),))
    model = variant(tmp_path, with_rule(rule))
    experiment = experiment_on(model)
    assert attention(experiment, "3.0", at="END", to="IO").value > 0.98
    assert direct_logit_attribution(experiment, "3.0").value < 0.1
