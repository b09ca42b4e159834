"""The README's code blocks run: each block of claims on the checkpoint that the comment before it names."""

import re
import runpy
from pathlib import Path

import pytest
from models import random_gpt2

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCK = re.compile(r"<!-- run on ([\w-]+): (.*?) -->\n```python\n(.*?)```", re.S)
BLOCKS = BLOCK.findall(README)


def test_every_block_runs():
    assert len(BLOCKS) == len(re.findall(r"```python", README)) == 2


def test_a_reader_sees_it_whole():
    assert len(README.splitlines()) <= 200


def test_the_block_of_the_training_loop(tokenizer, capsys):
    page = (Path(__file__).parents[1] / "docs" / "own_model.md").read_text()
    (block,) = re.findall(r"```python\n(from pytest_interp import check\n.*?)```", page, re.S)
    exec(block, {"model": random_gpt2(tokenizer), "tokenizer": tokenizer})
    assert "ioi/behaviour.is_right_on_most_prompts[model]" in capsys.readouterr().out


@pytest.mark.parametrize(("checkpoint", "outcome", "code"), BLOCKS, ids=range(len(BLOCKS)))
def test_block(claims_project, checkpoint, outcome, code, request):
    if checkpoint == "smollm2-135m-instruct":
        request.getfixturevalue("smollm2")
    claims_project.makepyfile(test_block=code)
    result = claims_project.runpytest("--interp-model", checkpoint, "--interp-prompts", "48", "-k", checkpoint)
    counts = dict.fromkeys(("passed", "failed"), 0) | result.parseoutcomes()
    if outcome == "all pass":
        assert counts["passed"] > 0
        assert counts["failed"] == 0
    else:
        passed, failed = map(int, re.findall(r"\d+", outcome))
        assert (counts["passed"], counts["failed"]) == (passed, failed)


def test_the_figures_of_the_opening_are_those_of_the_circuit_file():
    circuit = (Path(__file__).parents[1] / "claims" / "circuits" / "smollm2-135m-instruct.toml").read_text()
    assert re.search(r"#   23\.3 +1\.986", circuit)
    assert "23.0, 23.1 and 23.2" in README


def test_the_first_run_is_what_one_sees(smollm2):
    script = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "first_run.py"))
    steady = script["steady"]
    assert steady(script["sample"](README)) == steady(script["shown"]()), "run `python docs/first_run.py`"


def test_what_is_steady_of_a_run_is_all_but_durations_and_what_runs_now():
    steady = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "first_run.py"))["steady"]
    quiet = "a/test_x.py ..s [ 60%]\nb/test_x.py F [100%]\n== 3 passed in 2.14s =="
    loud = (
        "a/test_x.py .\ninterp: 1 of 4 claims, 9 s, now test_x\na/test_x.py  .s [ 60%]\n"
        "b/test_x.py \ninterp: 3 of 4 claims, 2 min 3 s, now test_y\nb/test_x.py F [100%]\n"
        "= 3 passed in 71.80s (0:01:11) ="
    )
    assert steady(loud) == steady(quiet) == ["a/test_x.py ..s", "b/test_x.py F", "= 3 passed in # ="]
    assert steady(quiet) != steady(quiet.replace("F", "."))
    assert steady(quiet) != steady(quiet.replace("3 passed", "2 passed"))
