"""Whether BOS stands before prompts: as a tokenizer or a GGUF file has it, and what a verdict says of it."""

from dataclasses import replace

import gguf
import pytest
from models import random_gpt2

from pytest_interp import Checkpoint, CheckpointSpec, Experiment, assert_head_patch_effect, assert_logit_diff
from pytest_interp.assertions import capability
from pytest_interp.checkpoints import boot, known_specs
from pytest_interp.checkpoints.sources.gguf_file import _parsed_once, bos_in
from pytest_interp.checkpoints.sources.tokenizer import adds_bos
from pytest_interp.checkpoints.spec import resolve
from pytest_interp.errors import ClaimFailed, NotApplicable
from pytest_interp.tasks import ioi
from pytest_interp.verdict.bound import Bound


@pytest.fixture(scope="module")
def adding(tokenizer):
    """The tokenizer of the IOI words, which puts BOS before a text."""
    import copy

    from tokenizers.processors import TemplateProcessing

    other = copy.deepcopy(tokenizer)
    other.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", other.bos_token_id)]
    )
    return other


def test_what_a_tokenizer_does_of_its_own_accord(tokenizer, adding):
    assert adds_bos(adding)
    assert not adds_bos(tokenizer)
    nameless = replace_bos(tokenizer)
    assert nameless.bos_token_id is None
    assert not adds_bos(nameless)


def replace_bos(tokenizer):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, unk_token="<unk>")


@pytest.mark.parametrize("adds", [True, False])
def test_by_default_bos_is_as_the_tokenizer_has_it(tokenizer, adding, adds):
    mine = adding if adds else tokenizer
    spec = CheckpointSpec("mine", loader=lambda: (random_gpt2(mine), mine))
    checkpoint = Checkpoint(spec)
    assert checkpoint.bos is adds
    # What a circuit file, the project or the user says goes before.
    checkpoint.claimed(None, bos=not adds)
    assert checkpoint.bos is not adds
    checkpoint.claimed(None, bos=None)
    assert checkpoint.bos is adds
    assert Checkpoint(replace(spec, bos=not adds)).bos is not adds


def test_registered_checkpoints_say_it_and_others_do_not(tmp_path):
    assert {spec.bos for spec in known_specs().values()} == {True, False}
    assert resolve("owner/name", known_specs()).bos is None


def gguf_file(path, says):
    writer = gguf.GGUFWriter(path, "llama")
    if says is not None:
        writer.add_add_bos_token(says)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("says", [True, False, None])
@pytest.mark.parametrize("adds", [True, False])
def test_a_gguf_file_goes_before_the_tokenizer_that_is_made_of_it(tmp_path, monkeypatch, tokenizer, adding, says, adds):
    path = gguf_file(tmp_path / "m.gguf", says)
    assert bos_in(path) is says
    mine = adding if adds else tokenizer
    monkeypatch.setattr(boot, "load_transformers", lambda *_: (random_gpt2(mine), mine))
    checkpoint = Checkpoint(CheckpointSpec("m", "gguf", str(path)))
    assert checkpoint.bos is (adds if says is None else says)


def test_a_gguf_file_is_parsed_once_within_a_block(tmp_path):
    path, other = gguf_file(tmp_path / "m.gguf", True), gguf_file(tmp_path / "other.gguf", True)
    original, names = gguf.GGUFReader, gguf.get_tensor_name_map
    with pytest.raises(KeyError), _parsed_once(path):
        reader = gguf.GGUFReader(path)
        assert reader is gguf.GGUFReader(str(path))
        assert reader.get_field("tokenizer.ggml.add_bos_token").contents() is True
        assert reader.fields.keys() == original(path).fields.keys()
        assert gguf.GGUFReader(other) is not gguf.GGUFReader(other)
        named = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
        assert named is gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
        assert named.mapping == names(gguf.MODEL_ARCH.LLAMA, 2).mapping
        raise KeyError
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == (original, names)


@pytest.fixture(scope="module")
def without_bos(planted):
    """The planted model does the task less well without BOS: 3.4 logits, with it 8.9."""
    return Experiment(planted, ioi(planted.tokenizer, half="confirm", n=24, seed=1, bos=False))


def test_a_task_that_is_done_by_the_other_choice_says_so(without_bos):
    with pytest.raises(ClaimFailed, match=r"with BOS it is 8\.854, at least 4: pass --interp-bos yes"):
        assert_logit_diff(without_bos, at_least=4)
    with_bos = replace(without_bos, data=without_bos.data.redraw(bos=True))
    with pytest.raises(ClaimFailed, match=r"without BOS it is 3\.353, at most 4: pass --interp-bos no"):
        assert_logit_diff(with_bos, at_most=4)


def test_a_gate_that_the_other_choice_passes_says_so(without_bos, monkeypatch):
    monkeypatch.setattr(capability, "POSITIVE", Bound.of(at_least=4))
    with pytest.raises(
        NotApplicable, match=r"does not do the task .*; with BOS it is 8\.854, .*: pass --interp-bos yes"
    ):
        assert_head_patch_effect(without_bos, "3.0", corruption="s2-exchanged", at_least=0.1)


def test_nothing_is_said_where_the_other_choice_does_not_either(without_bos):
    with pytest.raises(ClaimFailed) as failure:
        assert_logit_diff(without_bos, at_least=100)
    assert "interp-bos" not in str(failure.value)
