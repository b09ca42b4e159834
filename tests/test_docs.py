"""The pages that are made from the claims are those that the claims make."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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
