"""Names that stand for several checkpoints: lists and ranges of revisions, folders of training steps."""

import pytest

from pytest_interp import UsageError
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.series import revisions_of, specs_of
from pytest_interp.common.steps import ordered, step_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("main", ["main"]),
        ("a, b,c", ["a", "b", "c"]),
        ("step0:step3000:1000", ["step0", "step1000", "step2000", "step3000"]),
        ("step0:2500:1000", ["step0", "step1000", "step2000"]),
        ("10:20:5,main", ["10", "15", "20", "main"]),
        ("checkpoint-100:checkpoint-100:1", ["checkpoint-100"]),
    ],
)
def test_lists_and_ranges_of_revisions(text, expected):
    assert revisions_of(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step0:step10", "no range; pass FIRST:LAST:STEP"),
        ("step0:epoch10:1", "no range"),
        ("a:b:c", "no range"),
        ("step5:step0:1", "its last number is not below the first"),
        ("step0:step5:0", "its step is at least 1"),
        ("0:1000000:1", "at most 1000 steps"),
        ("a,b,a", "names 'a' twice"),
    ],
)
def test_what_is_no_range_is_a_sentence(text, message):
    with pytest.raises(UsageError, match=message):
        revisions_of(text)


def test_a_bare_number_is_the_step_of_a_family():
    """As TransformerLens's checkpoint_value."""
    known = known_specs()
    assert [spec.revision for spec in specs_of("pythia-70m", known, "0,1000")] == ["step0", "step1000"]
    assert [spec.revision for spec in specs_of("stanford-gpt2-small-a", known, "400")] == ["checkpoint-400"]
    assert [spec.name for spec in specs_of("owner/mine", known, "400,main")] == ["owner--mine@400", "owner--mine@main"]
    with pytest.raises(UsageError, match="--interp-revision is for models of the hub"):
        specs_of("planted-ioi", known, "1,2")


def made(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")


def test_a_folder_of_steps_is_sorted_by_number(tmp_path):
    made(tmp_path / "run", "checkpoint-1000", "checkpoint-200", "logs")
    (tmp_path / "run" / "checkpoint-300").mkdir()  # broken: it is a member all the same, and is not passed over
    specs = specs_of(str(tmp_path / "run"), {}, None)
    assert [spec.name for spec in specs] == ["run@checkpoint-200", "run@checkpoint-300", "run@checkpoint-1000"]
    assert {spec.kind for spec in specs} == {"directory"}


def test_a_folder_that_is_a_checkpoint_stands_for_itself_and_a_pattern_for_its_steps(tmp_path):
    """A trainer leaves its last model beside the steps."""
    made(tmp_path, "run", "run/checkpoint-20", "run/checkpoint-100")
    (tmp_path / "run" / "model.safetensors").touch()
    assert [spec.name for spec in specs_of(str(tmp_path / "run"), {}, None)] == ["run"]
    specs = specs_of(str(tmp_path / "run" / "checkpoint-*"), {}, None)
    assert [spec.name for spec in specs] == ["run@checkpoint-20", "run@checkpoint-100"]


def test_a_folder_without_checkpoints_is_refused_as_ever(tmp_path):
    (tmp_path / "checkpoint-1").mkdir()
    with pytest.raises(UsageError, match=r"has no config\.json"):
        specs_of(str(tmp_path), {}, None)
    with pytest.raises(UsageError, match="there is no directory .*checkpoint-"):
        specs_of(str(tmp_path / "checkpoint-*"), {}, None)


def test_the_order_of_steps():
    assert [step_of(name) for name in ("a@step10", "noise-0.25", "gpt2@main", "olmo@step5-tokens2B")] == [
        10, 0.25, None, 5,
    ]  # fmt: skip
    assert ordered(["step10", "step9"]) == [1, 0]
    assert ordered(["a@main", "a@step9"]) is ordered(["distilgpt2", "gpt2"]) is None
