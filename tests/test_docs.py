"""The pages that are made from the claims are those that the claims make."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pytest_interp.tolerance import FLOAT_NOISE, PROBABILITY_NOISE, tolerance_from

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages():
    # In a process of its own: collecting the claims registers their Hypothesis profile and imports conftest modules.
    code = (
        "import runpy, json; made = runpy.run_path('docs/claims.py')['pages'](); "
        "print(json.dumps({path.name: text for path, text in made}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["claims.md", "documented.md"])
def test_the_page_is_up_to_date(pages, name):
    assert (ROOT / "docs" / name).read_text() == pages[name], "run `python docs/claims.py`"


def test_every_claim_states_something(pages):
    rows = [
        line for line in pages["claims.md"].splitlines() if line.startswith("| ") and not line.startswith("| claim |")
    ]
    assert len(rows) > 150
    for row in rows:
        claim, statement, source, *_ = (cell.strip() for cell in row.strip("|").split(" | "))
        assert statement.endswith("."), claim
        assert source, claim


def test_what_is_documented_exactly_has_a_claim_or_a_reason():
    rows = tomllib.loads((ROOT / "claims" / "published" / "rows.toml").read_text())["rows"]
    text = (ROOT / "docs" / "documented.md").read_text()
    assert all(f"| {row} |" in text for row in rows)


def test_tolerances_are_those_that_were_measured():
    """What a snapshot allows follows by one rule from the distance from float64 that the page shows."""
    text = (ROOT / "docs" / "verdicts.md").read_text()
    rows = re.findall(r"^\| (logits|probability) \| (\w+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$", text, re.M)
    assert {(unit, dtype) for unit, dtype, *_ in rows} == {
        (unit, dtype) for unit in ("logits", "probability") for dtype in ("float32", "bfloat16")
    }
    kept = {"logits": FLOAT_NOISE, "probability": PROBABILITY_NOISE}
    for unit, dtype, prompt, mean, made, shown in rows:
        assert tolerance_from(float(prompt), float(mean), dtype) == pytest.approx(float(made))
        assert kept[unit][dtype] == pytest.approx(float(made)) == pytest.approx(float(shown)), (unit, dtype)


def test_verdicts_are_wrong_as_rarely_as_the_page_requires(interval_error):
    """The table has a row for each population of the benchmark, and those that are bounded keep to their bound."""
    text = (ROOT / "docs" / "verdicts.md").read_text().split("<!-- measured: interval error -->")[1]
    rows = [line.strip("| ") for line in text.split("<!-- end -->")[0].strip().splitlines()[2:]]
    assert [" | ".join(row.split(" | ")[:4]) for row in rows] == [
        str(population) for population in interval_error.cases()
    ]
    for row, population in zip(rows, interval_error.cases(), strict=True):
        now = [float(number) for number in row.split(" | ")[5].split(", ")]
        assert not population.bounded or max(now) <= interval_error.LIMIT, row


def test_the_rule_for_tolerances():
    made = [tolerance_from(x, x / 10, "float32") for x in (5.3e-5, 5e-5, 2.4e-6, 0.1)]
    assert made == pytest.approx([2e-4, 1e-4, 5e-6, 0.2])
    assert tolerance_from(0.52, 0.044, "bfloat16") == pytest.approx(0.5)


def test_the_blocks_of_the_page_on_own_experiments_run(capsys):
    """One after the other, as a reader types them."""
    page = (ROOT / "docs" / "own-experiments.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert capsys.readouterr().out.splitlines() == ["supported 0.96", "supported"]
