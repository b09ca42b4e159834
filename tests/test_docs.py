"""Pages are true: those made from the claims, tolerances and error rates, links, named files and names of pages."""

import json
import re
import runpy
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


def test_the_reference_is_what_the_code_says():
    script = runpy.run_path(str(ROOT / "docs" / "reference.py"))
    page = (ROOT / "docs" / "reference.md").read_text()
    assert page == script["filled"](page), "run `python docs/reference.py`"


def test_every_claim_states_something(pages):
    rows = [
        line for line in pages["claims.md"].splitlines() if line.startswith("| ") and not line.startswith("| claim |")
    ]
    assert len(rows) > 100
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
    constants = {"logits": FLOAT_NOISE, "probability": PROBABILITY_NOISE}
    for unit, dtype, prompt, mean, derived, shown in rows:
        assert tolerance_from(float(prompt), float(mean), dtype) == pytest.approx(float(derived))
        assert constants[unit][dtype] == pytest.approx(float(derived)) == pytest.approx(float(shown)), (unit, dtype)


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
    tolerances = [tolerance_from(x, x / 10, "float32") for x in (5.3e-5, 5e-5, 2.4e-6, 0.1)]
    assert tolerances == pytest.approx([2e-4, 1e-4, 5e-6, 0.2])
    assert tolerance_from(0.52, 0.044, "bfloat16") == pytest.approx(0.5)


PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob(".github/**/*.md")}
)
CODE = re.compile(r"```.*?```", re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SOURCE = re.compile(r"(?<![\w/.-])((?:benchmarks|claims|docs|pytest_interp|tests)/[\w./-]*\w\.\w+)")


def anchors(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page):
    text = page.read_text()
    for target in LINK.findall(CODE.sub("", text)):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target
    missing = {path for path in SOURCE.findall(text) if not re.search("[A-Z]{2}", Path(path).stem)}
    assert all((ROOT / path).exists() for path in missing), missing


def test_a_page_about_a_quantity_has_its_modules_name():
    """A page that is listed with a measurement has the name of the module that the measurement stands in."""
    table = re.findall(r"^\| \[.*?\]\((\w+)\.md\) \| `(\w+)`", (ROOT / "docs" / "README.md").read_text(), re.M)
    assert len(table) > 10
    from pytest_interp import measure

    modules = {page: getattr(measure, name).__module__.rpartition(".")[2] for page, name in table}
    assert modules == {page: page for page in modules}


BLOCK = re.compile(r"<!-- run on ([\w-]+): (\d+) pass, (\d+) fail -->\n```python\n(.*?)```", re.S)
BLOCKS = [
    pytest.param(*block, id=f"{page.stem}-{number}")
    for page in PAGES
    if page.parent.name == "docs"
    for number, block in enumerate(BLOCK.findall(page.read_text()))
]


@pytest.mark.parametrize(("checkpoint", "passed", "failed", "code"), BLOCKS)
def test_blocks_of_claims_run(claims_project, checkpoint, passed, failed, code):
    claims_project.makepyfile(test_block=code)
    result = claims_project.runpytest("--interp-model", checkpoint, "--interp-prompts", "48")
    result.assert_outcomes(passed=int(passed), failed=int(failed))


def test_the_guide_to_measurements_shows_what_its_claims_say(claims_project):
    text = (ROOT / "docs" / "write_a_measurement.md").read_text()
    pattern = r"<!-- run with (\S+) on ([\w-]+): (\d+) pass, (\d+) fail -->\n```python\n(.*?)```"
    ((option, checkpoint, passed, failed, code),) = re.findall(pattern, text, re.S)
    printed = re.findall(r"<!-- printed -->\n```text\n(.*?)```", text, re.S)
    assert len(printed) == 2
    claims_project.makepyfile(test_strongest_source=code)
    result = claims_project.runpytest("--interp-model", checkpoint, "--interp-prompts", "48", option)
    result.assert_outcomes(passed=int(passed), failed=int(failed))
    for block in printed:
        result.stdout.fnmatch_lines([line.replace("[", "[[]") for line in block.splitlines()], consecutive=True)


def test_the_tutorial_shows_what_its_claims_say(pytester):
    """In an empty folder, as the tutorial begins."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    checkpoint, _, _, code = BLOCK.findall(text)[0]
    shown = re.findall(r"```text\n(E  .*?)```", text, re.S)[0].splitlines()
    pytester.makepyfile(test_movers=code)
    result = pytester.runpytest("--interp-model", checkpoint)
    result.stdout.fnmatch_lines([line.replace("[", "[[]") for line in shown], consecutive=True)


def test_the_blocks_of_the_page_on_own_experiments_run(capsys):
    """One after the other, as a reader types them."""
    page = (ROOT / "docs" / "own_experiments.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert capsys.readouterr().out.splitlines() == ["supported 0.96", "supported"]
