"""Claims over a series of checkpoints: emergence, dips, reversals, Jaccard, change; and series that are none."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from records import GPT2, ledger_of, outcome_of, sampled_record

from pytest_interp import Bound, UsageError
from pytest_interp.cli import main
from pytest_interp.compare.series import series_of
from pytest_interp.report import series as views

YES, NO, TURNED, UNSURE = 0.0, -2.6, -5.0, -2.28
"""Shifts of a logit difference of 3.28 that has to be at least 1."""


def step(number, shifts, *, words=None, **changes):
    """The ledger of a training step; shifts by name of claim."""
    name = f"mine@step{number}"
    weights = replace(GPT2, name=name, fingerprint=f"{number:012d}")
    claims = []
    for claim, shift in shifts.items():
        if isinstance(shift, float):
            outcome = outcome_of(claim, sampled_record(shift, checkpoint=weights), checkpoint=name)
        else:
            ending = {"error": ("error", ""), "not applicable": ("skipped", "Skipped: not applicable: no site")}[shift]
            outcome = outcome_of(claim, checkpoint=name, outcome=ending[0], reason=ending[1])
        claims.append(replace(outcome, claim=replace(outcome.claim, role=(words or {}).get(claim))))
    return ledger_of(*claims, **changes)


def over(**shifts):
    """A series with a step for each shift of each claim."""
    count = len(next(iter(shifts.values())))
    return series_of({f"{n}.json": step(n, {name: row[n] for name, row in shifts.items()}) for n in range(count)})


def claim(series, name="task"):
    return next(claim for claim in series.claims if claim.name == f"it.{name}")


def shown(series):
    return "\n".join(line.text for line in views.terminal(series))


@pytest.mark.parametrize(
    ("shifts", "letters", "emergence", "dips", "reversals"),
    [
        ((YES, YES, YES), "+++", 0, (), ()),
        ((NO, NO, YES, YES), "--++", 2, (), ()),
        ((YES, YES, NO), "++-", None, (), ()),
        ((NO, NO), "--", None, (), ()),
        ((YES, NO, YES, NO, NO, YES), "+-+--+", 5, ((1, 1), (3, 4)), ()),
        ((YES, UNSURE, YES), "+?+", 2, ((1, 1),), ()),
        ((YES, TURNED, YES), "+-+", 2, ((1, 1),), (1,)),
        ((NO, YES, TURNED, TURNED), "-+--", None, (), (2, 3)),
        ((TURNED, YES), "-+", 1, (), ()),  # never was supported before: nothing is turned round
        # What is no verdict is passed over.
        ((YES, "error", YES), "+x+", 0, (), ()),
        ((YES, NO, "not applicable", NO, YES), "+-o-+", 4, ((1, 3),), ()),
        (("error", "error"), "xx", None, (), ()),
    ],
)
def test_what_becomes_of_a_claim(shifts, letters, emergence, dips, reversals):
    task = claim(over(task=shifts))
    assert views.letters(task) == letters
    assert (task.emergence, task.dips, task.reversals) == (emergence, dips, reversals)


def test_jaccard_by_hand():
    series = over(a=(YES, YES, YES), b=(YES, NO, YES), c=(NO, NO, YES), d=("error", YES, YES))
    # Steps 0 and 1 share verdicts on a, b, c: {a, b} and {a}; steps 1 and 2 on all: {a, d} and {a, b, c, d}.
    assert series.adjacent == (None, 0.5, 0.5)
    assert series.to_reference == (pytest.approx(2 / 3), 0.5, 1.0)
    assert over(a=(NO, NO)).adjacent == (None, None)


def test_the_change_rate_by_hand():
    # Moves of 0, 1 and 1/2 of the range: ((0 + 1) / 2 + 1/2) / 2.
    assert claim(over(task=(YES, YES, -2.0, -1.0))).change == pytest.approx(0.5)
    assert claim(over(task=(YES, 0.00005, YES))).change == 0  # float noise
    assert claim(over(task=(YES, "error"))).change is None


def test_steps_are_in_the_order_of_their_numbers_else_of_the_ledgers():
    ledgers = {f"{n}.json": step(n, {"task": YES}) for n in (1000, 200, 30)}
    series = series_of(ledgers)
    assert [part.label for part in series.steps] == ["mine@step30", "mine@step200", "mine@step1000"]
    assert "3 steps, in the order of their numbers: step30, step200, step1000" in shown(series)
    named = [outcome_of("task", sampled_record(), checkpoint=name) for name in ("b", "a")]
    series = series_of({f"{n}.json": ledger_of(outcome) for n, outcome in enumerate(named)})
    assert [part.label for part in series.steps] == ["b", "a"]
    assert "in the order of the ledgers: b, a" in shown(series)


def test_one_ledger_of_several_checkpoints_and_one_name_in_several_ledgers():
    both = [outcome_of("task", sampled_record(), checkpoint=name) for name in ("mine@2", "mine@1")]
    assert [part.label for part in series_of({"all.json": ledger_of(*both)}).steps] == ["mine@1", "mine@2"]
    same = {f"run{n}.json": ledger_of(outcome_of("task", sampled_record())) for n in (2, 1)}
    assert [part.label for part in series_of(same).steps] == ["run1", "run2"]


def test_roles_are_grouped_and_a_reference_can_be_chosen():
    roles = {"a": "name_mover", "b": "name_mover"}
    rows = [{"a": NO, "b": YES, "c": YES}, {"a": YES, "b": YES, "c": NO}]
    ledgers = {f"{n}.json": step(n, row, words=roles) for n, row in enumerate(rows)}
    series = series_of(ledgers, "step0")
    assert {role: len(claims) for role, claims in series.roles.items()} == {"name_mover": 2, "": 1}
    assert "name_mover: supported 1 2 of 2" in shown(series)
    assert "Jaccard index with step0: 1.00 0.33" in shown(series)
    assert series_of(ledgers, "0.json").reference == 0
    with pytest.raises(UsageError, match="--reference is 'step7'; pass one of mine@step0, mine@step1"):
        series_of(ledgers, "step7")


def test_what_differs_beside_the_weights_is_said():
    other = replace(GPT2, name="mine@step1", dtype="bfloat16", fingerprint="1" * 12)
    second = ledger_of(outcome_of("task", sampled_record(checkpoint=other), checkpoint="mine@step1"))
    series = series_of({"0.json": step(0, {"task": YES}), "1.json": second})
    assert series.causes == ("dtype float32 -> bfloat16",)
    assert "steps differ in more than their weights: dtype float32 -> bfloat16" in shown(series)


def test_a_claim_that_only_some_ledgers_have_is_shown_with_a_dot():
    series = series_of({"0.json": step(0, {"a": YES}), "1.json": step(1, {"a": YES, "b": NO})})
    assert [views.letters(part) for part in series.claims] == ["++", ".-"]


def test_every_line_fits_and_hostile_names_do_nothing():
    rows = {f"task\x1b[31m{'x' * 90}": (YES, NO) * 40, "b|<i>": (NO, YES) * 40}
    series = over(**rows)
    text = shown(series)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 79
    assert "<i>" not in views.markdown(series)


def test_the_forms_say_the_same():
    series = over(task=(NO, YES, NO, YES), same=(YES, YES, YES, YES))
    text = shown(series)
    assert "  -+-+  it.task" in text
    assert "logit_diff 0.675 3.27 0.675 3.27 (at least 1); from step3 on; dip at step2;" in " ".join(text.split())
    summary = "2 claims over 4 steps: 1 supported throughout, 1 emerging, 1 with a dip"
    assert text.endswith(summary)
    lines = views.markdown(series).splitlines()
    assert lines[0] == f"**{summary}**"
    rows = [line for line in lines if line.startswith("|")]
    assert [row.count(" | ") for row in rows] == [8] * 4 + [3] * 6
    table = json.loads(json.dumps(views.table(series)))
    (task,) = (entry for entry in table["claims"] if entry["claim"] == "it.task")
    assert (task["emergence"], task["dips"]) == ("mine@step3", [["mine@step2", "mine@step2"]])
    assert len(task["numbers"][0]["values"]) == len(table["steps"]) == 4


# ---- the command


@pytest.fixture
def files(tmp_path):
    """``files(ledger, ...)``: paths of ledgers."""

    def write(*ledgers):
        paths = []
        for number, ledger in enumerate(ledgers):
            (tmp_path / f"{number}.json").write_text(ledger.to_text())
            paths.append(str(tmp_path / f"{number}.json"))
        return paths

    return write


def test_the_command_prints_the_table_and_draws(files, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    paths = files(*(step(n, {"task": shift}) for n, shift in enumerate((NO, YES, YES))))
    assert main(["series", *paths, "--figure", str(tmp_path / "a.png")]) == 0
    assert "from step1 on" in capsys.readouterr().out
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["series", *paths, "--json"]) == main(["series", *paths, "--markdown"]) == 0
    capsys.readouterr()
    assert main(["series", *paths, "--figure", str(tmp_path / "a.gif")]) == 2
    assert "pass a .png, .svg or .pdf file" in capsys.readouterr().err


def test_bad_series_are_a_sentence_each(files, tmp_path, capsys):
    first, second, unrelated = files(step(0, {"task": YES}), step(1, {"task": YES}), step(2, {"another": YES}))
    for arguments, message in (
        ([first], "a series needs at least two checkpoints"),
        ([first, second, first], "the same file was passed twice"),
        ([first, unrelated], "0.json has no claim in common with the other ledgers (1 claim, such as it.task)"),
        ([first, second, unrelated], "2.json has no claim in common with the other ledgers"),
        ([str(tmp_path / "none.json"), str(tmp_path)], "none.json cannot be read"),
    ):
        assert main(["series", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_a_broken_ledger_is_left_out_and_the_status_says_so(files, tmp_path, capsys):
    paths = files(step(0, {"task": YES}), step(1, {"task": YES}))
    (tmp_path / "cut.json").write_text("{")
    assert main(["series", *paths, str(tmp_path / "cut.json")]) == 1
    output = capsys.readouterr()
    assert "2 steps" in output.out
    assert "left out: " in output.err
    assert "cut.json is not JSON" in output.err


def test_an_incomplete_ledger_and_a_checkpoint_with_errors_have_a_status(files, capsys):
    whole, broken = step(0, {"task": YES}), step(1, {"task": "error"})
    assert main(["series", *files(whole, broken)]) == 1
    part = step(1, {"task": YES})
    part = replace(part, run=replace(part.run, ended=1, collected=5))
    capsys.readouterr()
    assert main(["series", *files(whole, part)]) == 1
    output = capsys.readouterr()
    assert "1.json is not complete: 1 of 5 claims" in output.err
    assert "is not complete: 1 of 5 claims" in " ".join(output.out.split())


def test_the_command_imports_no_torch(files):
    paths = files(step(0, {"task": YES}), step(1, {"task": NO}))
    code = (
        f"import sys; from pytest_interp.cli import main; main(['series', *{paths!r}]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_bound_of_a_figure():
    number = claim(over(task=(YES, NO))).numbers[0]
    for bound, ends in (
        (Bound.of(at_least=0.8), (0.8,)),
        (Bound.of(at_most=-2), (-2,)),
        (Bound.of(between=(-0.5, 1)), (-0.5, 1)),
        (Bound.of(near=(0.9, 0.05)), (0.85, 0.95)),
        (Bound.positive(), (0,)),
    ):
        assert replace(number, bound=bound.text).ends == pytest.approx(ends)
