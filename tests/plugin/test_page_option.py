"""``--interp-page``: the page of a run, however it ends, and what is refused before it begins."""

import pytest

CLAIMS = '''
import pytest
from pytest_interp import assert_attention, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper", role="name_mover")

def test_reads(ioi):
    """3.1 reads the answer."""
    assert_attention(ioi, "3.1", at="END", to="IO", at_least=0.5)

def test_task(ioi):
    """The answer is preferred by 100."""
    assert_logit_diff(ioi, at_least=100)
'''
GONE = """
import shutil
from pathlib import Path

def pytest_runtest_teardown(item):
    shutil.rmtree("pages", ignore_errors=True)
    Path("pages").write_text("")
"""
RUN = ("--interp-model", "planted-ioi", "--interp-prompts", "8")


@pytest.fixture
def project(claims_project):
    claims_project.makepyfile(test_them=CLAIMS)
    return claims_project


def test_a_run_writes_its_page_also_where_claims_fail(project):
    result = project.runpytest(*RUN, "--interp-page", "pages/run.html", "-k", "reads or task")
    result.assert_outcomes(passed=1, failed=1)
    page = project.path / "pages" / "run.html"
    result.stdout.fnmatch_lines([f"interp: page: {page}"])
    html = page.read_text()
    for part in ("1 of 2 claims holds; 1 is refuted.", "attention of each head from END to IO", '"head":"3.1"',
                 "def test_reads(ioi):", "The circuit", 'data-k="name_mover"'):  # fmt: skip
        assert part in html, part
    assert "--interp-page" not in html, "the command of a claim writes no page"
    result = project.runpytest(*RUN, "--interp-page", "pages/run.html", "--interp-no-prompts", "-k", "reads")
    result.assert_outcomes(passed=1, deselected=1)
    html = page.read_text()
    assert "All" not in html.partition("</h1>")[0]
    assert "The one claim that was judged holds." in html
    assert "def test_reads" not in html


@pytest.mark.parametrize(
    ("path", "message"),
    [("run.txt", "*pass a file that ends in .html*"), ("test_them.py/run.html", "*which cannot be written*"),
     ("mine.html", "*a file that pytest-interp has not written*")],
)  # fmt: skip
def test_a_path_that_cannot_be_written_is_refused_before_the_run(path, message, project):
    (project.path / "mine.html").write_text("<p>mine</p>")
    result = project.runpytest(*RUN, "--interp-page", path)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_page_that_cannot_be_written_at_the_end_fails_the_run(project):
    project.makeconftest(GONE)
    result = project.runpytest(*RUN, "--interp-page", "pages/run.html", "-k", "reads")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["interp: page not written to *run.html: *"])


def test_a_listing_writes_no_page(project):
    assert project.runpytest(*RUN, "--interp-page", "run.html", "--collect-only").ret == 0
    assert not (project.path / "run.html").exists()
