"""An exploration sees what is planted, suggests claims that hold, and says what it cannot see."""

import csv
import json
import re
from pathlib import Path

import pytest
from models import CLAIMS, ROOT

from pytest_interp import Experiment, Head, UsageError, cli, explore_task, load_circuit, measure
from pytest_interp.explore import folder
from pytest_interp.explore.exploration import explorations
from pytest_interp.explore.looks import PLANS, strongest
from pytest_interp.explore.views import terminal
from pytest_interp.tasks.named import TASKS, task_of

OWN = """
from pytest_interp import from_strings

def task(tokenizer, *, half, n, seed, bos):
    names = [("Mary", "John"), ("David", "Emma")]
    return from_strings(
        tokenizer,
        clean=[f"When {a} and {b} arrived at the market, {b} handed a book to" for a, b in names],
        answers=[f" {a}" for a, _ in names],
        distractors=[f" {b}" for _, b in names],
        bos=bos, population="fixed", name="mine", CHOICES
    )
"""
ONE_TEMPLATE = 'templates=["one", "one"]'


@pytest.fixture(scope="module")
def explored(planted):
    return explore_task(planted, "ioi", n=24)


@pytest.fixture
def own(tmp_path):
    """``own(choices)``: the path of a module with a task of two prompts."""

    def write(choices="", text=OWN):
        path = tmp_path / "own_task.py"
        path.write_text(text.replace("CHOICES", choices))
        return str(path)

    return write


@pytest.fixture
def command(planted, monkeypatch, capsys):
    """``command(*arguments)``: the exit status, what was printed and what stands on standard error."""
    monkeypatch.setattr("pytest_interp.checkpoints.open.load", lambda *_, **__: planted)

    def run(*arguments):
        status = cli.main(["explore", "planted-ioi", "--prompts", "4", *arguments])
        return status, *capsys.readouterr()

    return run


def test_the_planted_heads_come_out_on_top(explored):
    """Writers by attribution; and by patching every head of the circuit file at the position of its role, no other."""
    assert [str(head) for head in strongest(explored["head_attribution"], 9)] == ["3.0", "4.0", "3.1", "3.2"]
    circuit = load_circuit(CLAIMS / "circuits" / "planted-ioi.toml")
    planned = {(head, role.at) for role in circuit.roles.values() for head in role.heads}
    seen = set(strongest(explored["needed_by_position"], 99))
    # The backup does nothing as long as the movers are there.
    assert planned - seen == {(head, "END") for head in circuit.role("backup_name_mover").heads}
    assert seen <= planned
    assert {head for head, _ in seen} == set(strongest(explored["heads_needed"], 99))
    assert set(strongest(explored["heads_by_position"], 99)) < seen
    reads = explored["attention"]
    assert {row: max(reads.columns, key=lambda to: reads[row, to].value) for row in reads.rows} == {
        **{f"{head} at END": "IO" for head in ("3.0", "3.1", "3.2", "4.0")},
        **{f"{head} at END": "S2" for head in ("2.0", "2.1")},
        **{"0.0 at S1+1": "S1", "0.1 at S2": "S1", "1.0 at S2": "S1+1"},
    }


def test_its_numbers_are_those_of_single_measurements(planted, explored):
    data = task_of("ioi").draw(planted.tokenizer, half="find", n=24, seed=0, bos=True)
    experiment = Experiment(planted, data)
    lost = measure.head_patch_effect(
        experiment, "0.1", at="S2", direction="noise", corruption="abc", metric="logit_diff"
    )
    assert explored["needed_by_position"][Head(0, 1), "S2"].values == pytest.approx(lost.values)
    stream = measure.patch_effect(experiment, "resid_pre", 3, at="END", corruption="s2-exchanged")
    assert explored["residual_patching"][3, "END"].values == pytest.approx(stream.values)
    parts = explored["behaviour"]
    assert [row for row in parts.rows if not row.startswith("template")] == ["all prompts", "order ABBA", "order BABA"]
    assert len(parts.rows) == 3 + 12


def test_the_claims_that_it_suggests_hold_on_other_prompts(explored, claims_project):
    claims_project.makepyfile(test_explored=explored.claims)
    result = claims_project.runpytest("--interp-model", "planted-ioi", "--interp-prompts", "8")
    result.assert_outcomes(passed=len(explored.calls))
    assert {call.function for call in explored.calls} == {
        "assert_logit_diff", "assert_direct_logit_attribution", "assert_patch_effect", "assert_head_patch_effect",
        "assert_attention",
    }  # fmt: skip


def test_random_weights_do_not_do_the_task_and_that_is_said_first(gpt2_like):
    exploration = explore_task(gpt2_like, "ioi", n=8)
    assert exploration.complete
    assert not exploration.capable
    assert "gpt2-like does not do the task" in exploration.remarks[0]
    assert exploration.calls == () == tuple(exploration.claims)
    assert set(exploration.tables) >= {"behaviour", "head_attribution", "heads_by_position", "mlp_patching"}


def test_every_look_fits_a_terminal(explored):
    for look in explored.looks:
        assert all(len(line) <= 80 for line in terminal(look)), look.name
    assert all(len(line) <= 80 for line in explored.claims.splitlines())
    text = "\n".join(line for look in explored.looks for line in terminal(look))
    assert re.search(r"0\.1 S2 +-2\.218", text)
    assert "left out: no cell is defined: mlp_out" in text


def test_a_notebook_shows_it(explored):
    assert repr(explored) == "<Exploration of planted-ioi on ioi: 12 of 13 tables>"
    html = explored._repr_html_()
    assert html.count("<table>") == 12
    assert "assert_attention(ioi, &quot;3.0&quot;" in html
    with pytest.raises(UsageError, match="there is no table 'mlp_patching': no cell is defined"):
        explored["mlp_patching"]
    with pytest.raises(UsageError, match="there is no table 'heads': pass one of behaviour, accuracy"):
        explored["heads"]


def test_the_command_writes_numbers_figures_and_claims(command, tmp_path):
    status, out, err = command("-o", str(tmp_path / "look"))
    assert status == 0, err
    assert out.startswith("planted-ioi on ioi/find: 4 prompts")
    assert "explore: heads_needed, 11 of 13" in err
    target = tmp_path / "look"
    content = json.loads((target / folder.NUMBERS).read_text())
    assert content["complete"]
    assert [look["name"] for look in content["looks"]] == [plan.name for plan in PLANS]
    measured = {look["name"] for look in content["looks"] if "cells" in look}
    assert {path.stem for path in target.glob("*.png")} == {path.stem for path in target.glob("*.csv")} == measured
    rows = list(csv.DictReader((target / "head_attribution.csv").read_text().splitlines()))
    (best,) = [row for row in rows if (row["row"], row["column"]) == ("3", "0")]
    assert float(best["value"]) == pytest.approx(5.941, abs=1e-3)
    assert (target / folder.CLAIMS).read_text().strip() in out
    assert f"pytest {target / folder.CLAIMS} --interp-model planted-ioi" in out
    assert not list(target.glob(".*"))


def test_without_matplotlib_figures_are_left_out_with_a_word(command, tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_interp.common.canvas.find_spec", lambda _: None)
    status, out, _ = command("-o", str(tmp_path / "look"))
    assert status == 0
    assert "No figures: figures need matplotlib: pip install" in " ".join(out.split())
    assert not list((tmp_path / "look").glob("*.png"))


def test_what_was_measured_before_an_interruption_is_there(command, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    (tmp_path / "attention.csv").write_text("of an earlier look")
    monkeypatch.setattr(measure, "direct_logit_attribution_sweep", interrupted)
    status, out, err = command("-o", str(tmp_path))
    assert status == 1
    assert "interrupted after 5 of 13 tables" in err
    content = json.loads((tmp_path / folder.NUMBERS).read_text())
    assert not content["complete"]
    assert [look["name"] for look in content["looks"]][-1] == "components"
    assert (tmp_path / "components.csv").exists()
    assert not (tmp_path / folder.CLAIMS).exists()
    assert not (tmp_path / "attention.csv").exists()
    assert "What writes the answer at END?" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "iou"], "unknown task 'iou': pass one of ioi, .*nearest: ioi"),
        (["--task", "no_such.py"], "there is no file no_such.py"),
        (["--corruption", "abd"], "has no corruption 'abd'.*nearest: abc"),
        (["--prompts", "1"], "an exploration of 1 prompt was asked for; pass at least 2"),
        (["--seed", "-1"], "seed is -1; pass 0 or more"),
        (["-o", __file__], "no file can be written .*; pass a folder"),
    ],
)
def test_a_wrong_command_line_has_a_sentence(command, arguments, message):
    status, _, err = command(*arguments)
    assert status == 2
    assert re.search(message, err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines no function task"),
        ("import nothing_like_it", "cannot be imported: ModuleNotFoundError"),
        ("def task(tokenizer): pass", "of .*own_task.py failed: TypeError"),
        ("def task(tokenizer, **_): return 3", "returned 3; return a DataSet"),
    ],
)
def test_a_module_that_is_no_task_has_a_sentence(own, planted, text, message):
    with pytest.raises(UsageError, match=message):
        explore_task(planted, own(text=text), n=2)


def test_a_task_without_corruption_positions_and_wordings(own, planted):
    """What cannot be measured is left out with its reason, and what may be believed is said first."""
    exploration = explore_task(planted, own(ONE_TEMPLATE), n=2)
    left_out = {look.name: look.left_out for look in exploration.looks if look.table is None}
    assert set(left_out) == {plan.name for plan in PLANS if plan.compares_runs} | {"attention"}
    assert "the task has no corruption" in left_out["heads_by_position"]
    assert "names no position but END" in left_out["attention"]
    assert [remark.partition(":")[0] for remark in exploration.remarks] == [
        "all prompts have one template",
        "all prompts have 15 tokens",
        "the task names no position but END",
        "2 of 2 prompts of the confirming half are those of the finding half",
        "2 templates are one wording but for answers and distractors",
    ][: len(exploration.remarks)]
    assert [row for row in exploration["behaviour"].rows if row != "all prompts"] == ["template 1: one"]
    assert "from own_task import task" in exploration.claims
    assert "return make_task(task)" in exploration.claims


def test_claims_about_a_task_of_ones_own_run_beside_it(own, planted, claims_project):
    corrupted = '{"s2": [f"When {a} and {b} arrived at the market, {a} handed a book to" for a, b in names]}'
    positions = '{"IO": [a for a, _ in names], "S2": [b for _, b in names]}'
    path = own(f"corrupted={corrupted}, positions={positions}")
    exploration = explore_task(planted, path, n=2)
    assert {str(cell[0]) for cell in strongest(exploration["heads_by_position"], 99)} == {
        "3.0", "3.1", "3.2", "4.0", "2.0", "2.1",
    }  # fmt: skip
    claims_project.makepyfile(own_task=Path(path).read_text(), test_explored=exploration.claims)
    result = claims_project.runpytest("--interp-model", "planted-ioi")
    result.assert_outcomes(passed=len(exploration.calls))


def test_without_names_of_positions_columns_are_indices(own, planted):
    corrupted = '{"s2": [f"When {a} and {b} arrived at the market, {a} handed a book to" for a, b in names]}'
    exploration = explore_task(planted, own(f"corrupted={corrupted}"), n=2)
    assert exploration["residual_patching"].columns == tuple(range(15))


@pytest.mark.parametrize("name", TASKS)
def test_the_tasks_of_the_package_have_two_halves(name, smollm2):
    find, confirm = (
        task_of(name).draw(smollm2.tokenizer, half=half, n=8, seed=0, bos=False) for half in ("find", "confirm")
    )
    texts = {prompt.text for prompt in find.clean.prompts}
    assert not texts & {prompt.text for prompt in confirm.clean.prompts}
    assert find.corrupted


def test_each_look_is_measured_when_it_is_asked_for(planted):
    parts = explorations(planted, task_of("ioi"), n=4, seed=0, corruption=None)
    assert [next(parts).complete, len(next(parts).looks)] == [False, 1]


PAGE = ROOT / "docs" / "explore.md"


def test_the_page_shows_what_is_printed(explored):
    text = PAGE.read_text()
    for look in explored.looks:
        assert "\n".join(terminal(look)) in text, "run `python docs/draw.py explore_planted`"
    assert explored.claims.strip() in text


def test_the_task_of_the_page_can_be_explored(own, planted):
    (block,) = re.findall(r"```python\n(from pytest_interp import from_strings\n.*?)```", PAGE.read_text(), re.DOTALL)
    exploration = explore_task(planted, own(text=block), n=2)
    assert not any("confirming half" in remark for remark in exploration.remarks)
    assert "needed_by_position" in exploration.tables
