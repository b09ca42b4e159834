"""The published claims without their weights: their arithmetic, their rows, and that a model which is not the one that
they are about supports none of them.
"""

import json
import re
import shutil
import tomllib

import pytest
from models import ROOT, SHAPES, impostor_of, modules_with_gate

from pytest_interp import Checkpoint, Experiment
from pytest_interp.checkpoints import known_specs, resolve
from pytest_interp.checkpoints.guard import Guard
from pytest_interp.measure import direct_logit_attribution, head_patch_effect, logit_diff
from pytest_interp.tasks import p8

CLAIMS = ROOT / "claims"
PUBLISHED = CLAIMS / "published"


@pytest.fixture(scope="session")
def impostor(gpt2_tokenizer, tmp_path_factory):
    """``impostor("gpt2-xl")``: a directory of that name with random weights, and GPT-2's own tokenizer.

    Layers and heads are that checkpoint's.
    """
    folders = {}

    def build(name):
        if name not in folders:
            folders[name] = impostor_of(name, tmp_path_factory.mktemp("weights"), gpt2_tokenizer)
        return folders[name]

    return build


@pytest.fixture
def published(pytester):
    for folder in ("circuits", "published"):
        shutil.copytree(CLAIMS / folder, pytester.path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for other in (pytester.path / "circuits").glob("*.toml"):
        if other.stem != "gpt2":
            other.unlink()
    return pytester


@pytest.fixture
def read_once(monkeypatch):
    """The state of a model is read when it is loaded, and taken for granted: no claim here changes one."""
    states, read = {}, Guard.state

    def state(self, *, outputs=False):
        if self not in states:
            states[self] = read(self, outputs=outputs)
        return states[self]

    monkeypatch.setattr(Guard, "state", state)


@pytest.fixture
def no_gate(monkeypatch):
    """Claims measure on a model that does not do the task too, where they would not be applicable."""
    for module in modules_with_gate():
        monkeypatch.setattr(module, "require_capability", lambda experiment: None)


def claims_of(pytester):
    """The published claims that pytest collects, with the keywords of their markers."""
    from pytest_interp.plugin.claim_marker import claim_of

    items, _ = pytester.inline_genitems("published")
    return [(item.name, claim_of(item)) for item in items]


def rows():
    return tomllib.loads((PUBLISHED / "rows.toml").read_text())["rows"]


def test_every_row_has_a_claim_or_says_why_not(published):
    known, claims = rows(), claims_of(published)
    claimed = {row for _, claim in claims for row in claim.finding}
    assert claimed <= set(known)
    assert [name for name, row in known.items() if (name in claimed) == ("why" in row)] == []


def test_every_claim_names_its_rows_and_their_checkpoint(published):
    known = rows()
    for name, claim in claims_of(published):
        assert claim.finding, name
        assert claim.source != "see each claim", name
        assert claim.evidence in ("A", "B", "C"), name
        assert all(set(claim.checkpoints) <= set(known[row]["checkpoint"].split(", ")) for row in claim.finding), name


def test_rows_are_well_formed():
    text = (PUBLISHED / "rows.toml").read_text()
    # A table that is there twice is refused by TOML itself.
    assert len(re.findall(r"^\[rows\.", text, re.MULTILINE)) == len(rows())
    for name, row in rows().items():
        assert re.fullmatch(r"[SMLXO]-[A-Z]?\d+b?", name), name
        assert {"evidence", "checkpoint", "what"} <= set(row) <= {"evidence", "checkpoint", "what", "why"}, name
        assert row["evidence"] in ("A", "B", "C"), name
        assert all(isinstance(value, str) and value.strip() for value in row.values()), name


def test_matrices_are_whole_and_agree_with_the_tables():
    matrices = json.loads((PUBLISHED / "figures" / "matrices.json").read_text())
    for name, matrix in matrices.items():
        assert set(matrix) <= {"source", "axes", "columns", "values"}, name
        assert len({len(row) for row in matrix["values"]}) == 1, name
    heads = matrices["ead_head_dla"]["values"]
    layers = matrices["ead_layer_dla"]["values"]
    lens = matrices["ead_logit_lens_accumulated"]["values"]
    assert sum(value for row in layers for value in row if value is not None) == pytest.approx(3.5519, abs=1e-3)
    assert lens[11][2] == pytest.approx(3.5519, abs=1e-4)
    assert heads[9][9] == pytest.approx(2.9854, abs=1e-4)
    # A layer's attention is its heads and a bias; what the stream gains by it is what the lens gains.
    assert sum(heads[9]) == pytest.approx(layers[10][2], abs=0.05)
    assert lens[9][1] - lens[9][0] == pytest.approx(layers[10][2], abs=1e-4)


def test_without_weights_everything_is_not_checked(published, monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    result = published.runpytest("published")
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"skipped"}
    assert outcomes["skipped"] > 800
    # One line for all of them, wrapped to 80 columns.
    listed = " ".join(result.stdout.str().partition("= findings =")[2].split())
    assert re.search(r"20 checkpoints: \d+ not checked: its weights are not in the Hugging Face cache; `pytest "
                     r"--interp-model NAME` fetches them: ", listed)  # fmt: skip
    assert all(re.search(rf"\b{name} \d+\b", listed) for name in SHAPES)


SLOW = (
    "faithfulness or circuit_alone or copy_score or minimality or logit_diff_gap or naive_circuit or suppressed_share "
    "or attended_share or attention_change"
)
"""Claims that take many passes, or many prompts, or every token twice, on a model of whatever width."""


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        pytest.param("gpt2", f"not ({SLOW})", id="gpt2"),
        pytest.param("gpt2", SLOW, id="gpt2-slow", marks=pytest.mark.thorough),
        *[pytest.param(name, "", id=name, marks=pytest.mark.thorough) for name in SHAPES if name != "gpt2"],
    ],
)
def test_a_model_that_is_another_supports_no_figure(published, impostor, no_gate, read_once, name, chosen):
    options = ("--interp-model", str(impostor(name)), "--interp-prompts", "24", "--tb=no", "-k", chosen)
    result = published.runpytest("published", *options)
    outcomes, findings = result.parseoutcomes(), result.stdout.str().partition("= findings =")[2]
    assert outcomes.get("passed", 0) == 0
    assert outcomes["failed"] > 0
    assert re.search(rf"^{name}: \d+ refuted", findings, re.MULTILINE)
    assert " supported" not in findings


def test_a_right_figure_passes_and_one_that_is_off_fails(published, impostor):
    experiment = _experiment(impostor("gpt2"))
    mean = logit_diff(experiment).value
    attribution = direct_logit_attribution(experiment, "9.9").value
    text = f"""
import pytest
from pytest_interp import assert_direct_logit_attribution, assert_logit_diff

pytestmark = pytest.mark.claim(source="measured here", checkpoints="gpt2", evidence="A")

def test_right(p8):
    assert_logit_diff(p8, near=({mean}, 0.01))

def test_off(p8):
    assert_logit_diff(p8, near=({mean} + 0.02, 0.01))

def test_right_head(p8):
    assert_direct_logit_attribution(p8, "9.9", near=({attribution}, 0.01))

def test_off_head(p8):
    assert_direct_logit_attribution(p8, "9.9", near=({attribution} + 0.02, 0.01))
"""
    published.makepyfile(test_figures=text)
    result = published.runpytest("test_figures.py", "--interp-model", str(impostor("gpt2")))
    result.assert_outcomes(passed=2, failed=2)


def _experiment(path):
    checkpoint = Checkpoint(resolve(str(path), known_specs()))
    return Experiment(checkpoint, p8(checkpoint.tokenizer))


def test_the_protocol_of_the_figures(impostor):
    """P8 is exchanged in pairs, so the corrupted mean is minus the clean one, and all heads at all positions do not
    recover everything: embeddings and MLPs differ at S2 too.
    """
    experiment = _experiment(impostor("gpt2"))
    assert logit_diff(experiment, run="s2-exchanged").value == pytest.approx(-logit_diff(experiment).value, abs=1e-4)
    assert experiment.data.population == "fixed"
    effect = head_patch_effect(experiment, "9.9")
    assert len(effect.values) == len(effect.scale) == 8
    assert effect.value == pytest.approx(sum(effect.values) / sum(effect.scale))
