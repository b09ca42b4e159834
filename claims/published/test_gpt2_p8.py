"""Figures of GPT-2 small that others printed, on the eight prompts of TransformerLens's demos, with BOS.

Sources: EAD is TransformerLens demos/Exploratory_Analysis_Demo.ipynb at 52c42edd, APD is
demos/Activation_Patching_in_TL_Demo.ipynb at 4cd36aae; weights as compatibility mode processes them.
"""

import pytest

from pytest_interp import assert_direct_logit_attribution, assert_head_patch_effect, assert_logit_diff

pytestmark = pytest.mark.claim(source="TransformerLens demos, EAD and APD", checkpoints="gpt2", cls="A")

PER_PROMPT = [
    ("Mary", "John", 3.337),
    ("John", "Mary", 3.202),
    ("Tom", "James", 2.709),
    ("James", "Tom", 3.797),
    ("Dan", "Sid", 1.720),
    ("Sid", "Dan", 5.281),
    ("Martin", "Amy", 2.601),
    ("Amy", "Martin", 5.767),
]


def test_mean_logit_difference(p8):
    """The mean logit difference over the eight prompts is 3.5519 (EAD, APD)."""
    assert_logit_diff(p8, near=(3.5519, 0.01))


def test_exchanging_the_second_subject_negates_it(p8):
    """On the prompts with S2 exchanged it is -3.5519, since they are the same prompts in pairs (EAD, APD)."""
    assert_logit_diff(p8, run="s2-exchanged", near=(-3.5519, 0.01))


@pytest.mark.parametrize(("io", "s", "value"), PER_PROMPT, ids=[f"{io}-{s}" for io, s, _ in PER_PROMPT])
def test_logit_difference_of_each_prompt(p8, io, s, value):
    """Each prompt has the logit difference that EAD prints."""
    assert_logit_diff(p8.where(IO=io, S=s), near=(value, 0.01))


@pytest.mark.parametrize(
    ("which", "value"),
    [("9.9", 2.9854), ("9.6", 1.3845), ("10.7", -1.8986), ("11.10", -0.9702), ("10.0", 0.5609), ("10.10", 0.4802)],
)
def test_direct_logit_attribution_of_heads(p8, which, value):
    """The heads of the circuit write what EAD's cell 47 prints."""
    assert_direct_logit_attribution(p8, which, near=(value, 0.01))


@pytest.mark.parametrize(("which", "value"), [("9.9", 0.2636), ("10.7", -0.4799), ("5.5", 0.3435), ("8.6", 0.3186)])
def test_patching_a_head_at_all_positions(p8, which, value):
    """Patching z of one head at all positions from clean into corrupted recovers what APD's cell 24 prints."""
    assert_head_patch_effect(p8, which, activation="z", direction="denoise", near=(value, 0.002))


@pytest.mark.parametrize(
    ("which", "at", "value"),
    [("10.7", "END", -0.4764), ("5.5", "S2", 0.3431), ("8.6", "END", 0.3109), ("9.9", "END", 0.2586)],
)
def test_patching_a_head_at_one_position(p8, which, at, value):
    """Patching z of one head at one position recovers what APD's cell 26 prints."""
    assert_head_patch_effect(p8, which, activation="z", at=at, direction="denoise", near=(value, 0.002))


def test_zero_ablating_the_strongest_name_mover(p8):
    """Zeroing z of 9.9 at END leaves 2.92 of the logit difference, though it writes 2.99 of it (EAD, cell 105)."""
    assert_logit_diff(p8, without="9.9", ablation="zero", near=(2.92, 0.01))
