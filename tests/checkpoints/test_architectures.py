"""Measurements on many architectures are right or not applicable; the whole table is in docs/architectures.md."""

import pytest
import torch
from architecture_checks import FAMILIES, Pair, cells_of
from architectures import ARCHITECTURES, random_model
from models import experiment_on

from pytest_interp import measure
from pytest_interp.checkpoints.checkpoint import Checkpoint
from pytest_interp.checkpoints.checks.preflight import preflight
from pytest_interp.checkpoints.spec import CheckpointSpec
from pytest_interp.checkpoints.stream import Outlet, centres, gain_of, shift_of
from pytest_interp.checkpoints.weights import Weights
from pytest_interp.errors import NotApplicable


def checkpoint_of(name, tokenizer, **more):
    def load():
        return random_model(name, len(tokenizer), **more), tokenizer

    return Checkpoint(CheckpointSpec(name.replace(" ", "-"), loader=load, bos=True))


@pytest.mark.parametrize("name", ["Gemma 2", "OLMo 2", "Granite", "BLOOM", "GPT-J", "StableLM"])
def test_each_family_is_right_or_not_applicable(name, tokenizer):
    """Norms after attention, multipliers, softcaps, a norm after the embedding, parallel blocks, partial rotation."""
    cells = cells_of(name, tokenizer)
    missing = {"eigenvalues"} if name == "BLOOM" else set()
    assert {family for family, cell in cells.items() if cell.difference is None} == missing
    assert [family for family, cell in cells.items() if cell.difference is not None and not cell.right] == []
    assert all("does not start from its embedding" in cells[family].reason for family in missing)


def test_the_table_names_every_architecture_and_family():
    assert len(ARCHITECTURES) >= 22
    assert list(FAMILIES) == ["logit difference", "patches", "heads", "attention", "copy scores", "eigenvalues"]


@pytest.fixture
def without_gains(monkeypatch):
    """Output weights as they are stored: without what stands between them and the residual stream."""
    monkeypatch.setattr(Weights, "w_o", lambda self, layer: self.bridge.blocks[layer].attn.W_O)


@pytest.mark.parametrize("name", ["Gemma 3", "OLMo 2", "Granite"])
def test_heads_that_do_not_add_up_are_not_attributed(name, tokenizer, without_gains):
    """What an unknown architecture may put between a head and the stream is found at load, and named."""
    checkpoint = checkpoint_of(name, tokenizer)
    (broken,) = [identity for identity in checkpoint.identities if not identity.holds]
    assert broken.kind == "heads"
    assert broken.difference > 0.05 * broken.size
    experiment = experiment_on(checkpoint)
    said = rf"heads and output bias do not add up to what attention writes at layer {broken.layer}: off by [\d.]+, "
    calls = [
        lambda: measure.direct_logit_attribution_sweep(experiment),
        lambda: measure.source_attribution_sweep(experiment, "IO"),
        lambda: measure.copy_score(checkpoint, "2.1", names=["Mary"]),
        lambda: measure.ov_eigenvalue_score(checkpoint, "2.1"),
        lambda: measure.attention_write_correlation(experiment, "2.1"),
        lambda: measure.attention(experiment, "2.1", at="END", to="IO", weighted=True),
        lambda: measure.backup_effect(experiment, "2.1", knocked_out="0.1"),
        lambda: measure.self_repair(experiment, "0.1"),
    ]
    for call in calls:
        with pytest.raises(NotApplicable, match=said):
            call()
    # What does not rest on the sum is measured.
    assert measure.component_attribution_sweep(experiment)
    assert measure.head_patch_effect(experiment, "2.1", at="END")
    assert measure.attention(experiment, "2.1", at="END", to="IO")


def test_a_stream_that_does_not_give_the_logits_is_not_read(tokenizer, monkeypatch):
    monkeypatch.setattr("pytest_interp.checkpoints.model.transforms_of", lambda bridge: (None,))
    checkpoint = checkpoint_of("Granite", tokenizer)
    assert [identity.kind for identity in checkpoint.identities if not identity.holds] == ["logits"]
    experiment = experiment_on(checkpoint)
    for call in (measure.direct_logit_attribution_sweep, measure.component_attribution_sweep, measure.logit_lens_sweep):
        with pytest.raises(NotApplicable, match="does not give its logits: off by"):
            call(experiment)
    assert measure.logit_diff(experiment)


def test_components_that_are_missing_are_not_attributed(tokenizer, monkeypatch):
    monkeypatch.setattr(
        "pytest_interp.checkpoints.model.outlet_of",
        lambda checkpoint, transforms: Outlet({"pos_embed": "hook_pos_embed"}, centred=False, transform=None),
    )
    checkpoint = checkpoint_of("GPT-2", tokenizer)
    assert [identity.kind for identity in checkpoint.identities if not identity.holds] == ["components"]
    with pytest.raises(NotApplicable, match="embeddings, attention and MLPs do not add up to its residual stream: off"):
        measure.component_attribution_sweep(experiment_on(checkpoint))


@pytest.mark.parametrize("name", ["planted", "gpt2_like", "llama_like", "neox_like"])
def test_identities_hold(name, request):
    identities = request.getfixturevalue(name).identities
    assert {identity.kind for identity in identities} == {"components", "heads", "logits"}
    assert all(identity.holds for identity in identities)
    assert all(identity.difference < 1e-5 * identity.size for identity in identities)


def test_attribution_through_a_softcap_is_its_first_order_effect(tokenizer):
    """On a model whose logits come near the cap, where the slope of the cap is what decides."""
    pair = Pair("Gemma 2", tokenizer, final_logit_softcapping=2.0)
    assert float(pair.experiment.answer_logits().abs().max()) > 1.5
    assert FAMILIES["heads"](pair).right
    assert FAMILIES["attention"](pair).right


def test_what_a_norm_does_is_read_off_the_norm():
    generator = torch.Generator().manual_seed(0)
    like = torch.zeros(12)
    layer = torch.nn.LayerNorm(12)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(12, generator=generator))
        layer.bias.copy_(torch.randn(12, generator=generator))
    assert torch.allclose(gain_of(layer, like), layer.weight, atol=1e-5)
    assert torch.allclose(shift_of(layer, like), layer.bias, atol=1e-5)
    assert centres(layer, like)
    root = torch.nn.RMSNorm(12, eps=1e-6)
    with torch.no_grad():
        root.weight.copy_(torch.randn(12, generator=generator))
    assert torch.allclose(gain_of(root, like), root.weight, atol=1e-5)
    assert not centres(root, like)
    assert not shift_of(root, like).any()


@pytest.mark.parametrize("name", ["GPT-J", "OPT"])
def test_edits_that_a_model_ignores_are_not_applicable(name, tokenizer):
    """These compute attention once more: what stands at the hook is right, and is not read."""
    checkpoint = checkpoint_of(name, tokenizer)
    preflight(checkpoint)
    experiment = experiment_on(checkpoint)
    with pytest.raises(NotApplicable, match="shows blocks.2.attn.hook_pattern and does not read it"):
        measure.head_patch_effect(experiment, "2.1", site="pattern", at="END")
    assert measure.attention(experiment, "2.1", at="END", to="IO").value > 0
    assert measure.head_patch_effect(experiment, "2.1", at="END")
