"""Damage to weights: what it does, against hooks that do the same, and that nothing of it is left."""

import hashlib
from contextlib import suppress

import pytest
import torch
from models import experiment_on

from pytest_interp import Checkpoint, CheckpointSpec, Head
from pytest_interp.checkpoints.damage import Damage, damaged
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    attention,
    copy_score,
    direct_logit_attribution,
    logit_diff,
)

MINE, OTHER = Head(1, 0), Head(1, 1)
SWAP = {MINE: OTHER, OTHER: MINE}
DAMAGES = [
    Damage("exchanged", (MINE,), SWAP),
    Damage("zeroed", (MINE,)),
    Damage("flipped", (MINE, Head(2, 1))),
    Damage("borrowed", (MINE,), {MINE: OTHER}),
    Damage("random"),
]


def bits(checkpoint):
    """A hash of every weight of the bridge, name by name."""
    digest = hashlib.sha256()
    for name, parameter in checkpoint.bridge.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def logits(checkpoint, **edits):
    tokens = torch.randint(0, checkpoint.shape.d_vocab, (3, 9), generator=torch.Generator().manual_seed(5))
    return checkpoint.run(tokens, edits=edits).logits


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.kind)
@pytest.mark.parametrize("end", ["returns", "raises", "is interrupted"])
def test_weights_come_back_bit_for_bit(small, damage, end):
    before, whole, state = bits(small), logits(small), small.guard.state()
    memo = small.memo
    memo["something"] = 1
    with suppress(RuntimeError, KeyboardInterrupt), damaged(small, damage):
        assert small.guard.memory == {}
        assert bits(small) != before
        if end != "returns":
            raise RuntimeError if end == "raises" else KeyboardInterrupt
    assert bits(small) == before
    assert torch.equal(logits(small), whole)
    assert small.guard.state() == state
    assert small.memo is memo
    assert memo.pop("something") == 1


@pytest.mark.parametrize("model", ["gpt2_like", "llama_like"])
def test_zeroed_and_flipped_are_what_hooks_on_z_do(request, model):
    checkpoint = request.getfixturevalue(model)

    def scaled(factor):
        def edit(z):
            z = z.clone()
            z[:, :, MINE.head] *= factor
            return z

        return logits(checkpoint, **{checkpoint.sites.hook("z", MINE.layer): edit})

    for kind, factor in (("zeroed", 0), ("flipped", -1)):
        with damaged(checkpoint, Damage(kind, (MINE,))):
            moved = logits(checkpoint)
        assert torch.allclose(moved, scaled(factor), atol=1e-5)
        assert float((moved - logits(checkpoint)).abs().max()) > 1e-2


@pytest.mark.parametrize("model", ["planted", "gpt2_like", "llama_like"])
def test_exchanged_heads_do_each_others_work_and_the_model_the_same(request, model):
    checkpoint = request.getfixturevalue(model)
    experiment = experiment_on(checkpoint, n=8)
    mine, other = Head(2, 0), Head(2, 1)
    writes = [direct_logit_attribution(experiment, head).value for head in (mine, other)]
    looks = [attention(experiment, head, at="END", to="S2").value for head in (mine, other)]
    whole = logit_diff(experiment).value
    with damaged(checkpoint, Damage("exchanged", (mine,), {mine: other, other: mine})):
        assert logit_diff(experiment).value == pytest.approx(whole, abs=1e-5)
        assert [direct_logit_attribution(experiment, head).value for head in (other, mine)] == pytest.approx(
            writes, abs=1e-5
        )
        assert [attention(experiment, head, at="END", to="S2").value for head in (other, mine)] == pytest.approx(
            looks, abs=1e-5
        )


def test_whole_groups_of_shared_keys_and_values_are_exchanged(llama_like):
    experiment = experiment_on(llama_like, n=8)
    size = llama_like.shape.n_heads // llama_like.shape.n_kv_heads
    swap = {Head(1, i): Head(1, (i + size) % (2 * size)) for i in range(2 * size)}
    before = [attention(experiment, head, at="END", to="IO").value for head in sorted(swap)]
    whole = logit_diff(experiment).value
    with damaged(llama_like, Damage("exchanged", (Head(1, 0),), swap)):
        after = [attention(experiment, swap[head], at="END", to="IO").value for head in sorted(swap)]
        assert logit_diff(experiment).value == pytest.approx(whole, abs=1e-5)
    assert after == pytest.approx(before, abs=1e-5)


def test_heads_of_two_groups_cannot_be_exchanged_alone(llama_like):
    size = llama_like.shape.n_heads // llama_like.shape.n_kv_heads
    a, b = Head(1, 0), Head(1, size)
    with pytest.raises(UsageError, match="query heads that share a key-value head must stay together"):  # noqa: SIM117
        with damaged(llama_like, Damage("exchanged", (a,), {a: b, b: a})):
            pass
    with pytest.raises(NotApplicable, match="of another group"), damaged(llama_like, Damage("borrowed", (a,), {a: b})):
        pass


def test_a_permutation_that_is_none_is_refused(gpt2_like):
    with pytest.raises(UsageError, match="every head must go somewhere"):  # noqa: SIM117
        with damaged(gpt2_like, Damage("exchanged", (MINE,), {MINE: OTHER})):
            pass
    assert gpt2_like.changes_since_load() == []


def test_a_borrowed_circuit_copies_as_its_owner_and_looks_as_before(gpt2_like):
    experiment = experiment_on(gpt2_like, n=8)
    names = ("John", "Mary", "James", "Robert")
    looks = attention(experiment, MINE, at="END", to="IO").value
    ranks = copy_score(gpt2_like, OTHER, names=names).labels
    assert copy_score(gpt2_like, MINE, names=names).labels != ranks
    with damaged(gpt2_like, Damage("borrowed", (MINE,), {MINE: OTHER})):
        assert copy_score(gpt2_like, MINE, names=names).labels == ranks
        assert attention(experiment, MINE, at="END", to="IO").value == pytest.approx(looks, abs=1e-6)


def test_a_model_drawn_anew_is_another_each_time_and_the_same_by_seed(planted_ioi):
    seen = []
    for seed in (0, 1, 0):
        with damaged(planted_ioi.checkpoint, Damage("random", seed=seed)):
            seen.append(logit_diff(planted_ioi).values)
    assert seen[0] == seen[2] != seen[1]
    assert abs(sum(seen[0])) < abs(sum(logit_diff(planted_ioi).values))


def test_heads_fixed_to_their_place_are_not_interchangeable(tokenizer):
    """BLOOM gives each head a slope of its own: where a head stands is part of what it does."""
    from transformers import BloomConfig, BloomForCausalLM

    def load():
        torch.manual_seed(0)
        config = BloomConfig(
            vocab_size=len(tokenizer), hidden_size=64, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
        )
        return BloomForCausalLM(config).eval(), tokenizer

    bloom = Checkpoint(CheckpointSpec("bloom-like", loader=load, bos=True))
    before = bits(bloom)
    with torch.no_grad():
        for parameter in bloom.bridge.parameters():
            parameter.data.mul_(4)
    changed = bits(bloom)
    with pytest.raises(NotApplicable, match="are not interchangeable|not stored by head"):  # noqa: SIM117
        with damaged(bloom, Damage("exchanged", (MINE,), SWAP)):
            pass
    assert bits(bloom) == changed != before


def test_what_transformers_adds_to_modules_is_no_damage(planted, monkeypatch):
    """It gives every module a method when it first builds a model, which may be after another was loaded."""

    def added(module):
        return module

    added.__module__ = "transformers.modeling_utils"
    monkeypatch.setattr(torch.nn.Module, "added", added, raising=False)
    assert planted.changes_since_load() == []
    added.__module__ = "test_measure"
    assert planted.changes_since_load() == ["torch.nn.modules.module.Module.added replaced"]


def test_weights_are_restored_bit_for_bit_and_the_memo_is_exchanged(planted, planted_ioi):
    before = logit_diff(planted_ioi).values
    with pytest.raises(KeyboardInterrupt), planted.edited_weight(3, "o") as weight:
        weight.zero_()
        assert logit_diff(planted_ioi).value == pytest.approx(4.99, abs=0.02)
        raise KeyboardInterrupt
    assert logit_diff(planted_ioi).values == before
    assert planted.changes_since_load() == []
