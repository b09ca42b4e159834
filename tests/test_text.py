"""What others wrote reaches a terminal without control characters, shortened, and in lines of 80 columns."""

import json
import re

import pytest
from records import record

from pytest_interp.common.context import NO_CONTEXT
from pytest_interp.errors import InterpError, UsageError, nearest
from pytest_interp.heads import as_head
from pytest_interp.ledger.claim import RecordedClaim
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.ledger.reruns import Movement
from pytest_interp.report.noise import noise
from pytest_interp.report.terminal import describe
from pytest_interp.text import columns, cut, line, shown, wrapped

NASTY = "\x1b[31mred\x07\u202eturned\x9b\x7f\u200bend\ud800"
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    "make", [line, shown, lambda text: " ".join(wrapped(text, 99)), lambda text: str(InterpError(text))]
)
def test_control_characters_are_shown_as_escapes(make):
    text = make(NASTY)
    assert not RAW.search(text)
    for escape in ("\\x1b[31m", "\\x07", "\\u202e", "\\x9b", "\\x7f", "\\u200b", "\\ud800"):
        assert escape in text


def test_emoji_and_letters_of_any_language_stay():
    for text in ("naïve 😀 日本語 عربى हिन्दी Ünïcödé e\u0301", "\u3000wide space"):
        assert line(text) == text
        assert shown(text) == repr(text).replace("\\u3000", "\u3000") or shown(text) == repr(text)
        assert str(InterpError(text)) == text


def test_long_values_say_how_long_they_are():
    for text in (line("x" * 100_000), shown("x" * 100_000), str(UsageError("x" * 100_000))):
        assert text.endswith("(100000 characters)")
        assert len(text) < 2_100
        assert " ... " in text or "..." in text
    assert shown([["y" * 100_000] * 1000] * 1000).count("y") < 20_000
    sentence = str(UsageError(f"there is no run {'x' * 100_000}; it has clean"))
    assert sentence.startswith("there is no run xxx")
    assert sentence.endswith("xxx; (100001 characters) it has clean")
    assert len(sentence) < 300
    assert line("short") == "short"
    assert line("two\nlines") == "two\\nlines"
    with pytest.raises(UsageError) as error:
        as_head("z" * 100_000)
    assert len(str(error.value)) < 400


def test_whatever_has_no_text_is_named_by_its_type():
    class Broken:
        def __repr__(self):
            raise ValueError("no")

    assert "Broken" in shown(Broken())
    assert shown(10**5000) == "a value of the type int"
    assert nearest(Broken(), ["a"]) == nearest("x" * 1000, ["x" * 999]) == ""


def test_lines_are_cut_by_columns():
    wide = "日本語" * 100
    lines = wrapped(f"{wide} and {wide}", 79, "  first ", "    ")
    assert max(map(columns, lines)) <= 80
    assert "".join("".join(lines).split()) == f"first{wide}and{wide}"
    assert columns("e\u0301😀") == 3
    assert columns(cut(wide, 21)) <= 21
    assert cut(wide, 21).startswith("...")
    assert cut("short", 21) == "short"


CLAIM = """
import pytest
from pytest_interp import *

NASTY = {nasty!r}

pytestmark = pytest.mark.claim(source="a paper " + NASTY)


def statement(text):
    def with_it(function):
        function.__doc__ = text
        return function
    return with_it


@pytest.mark.parametrize("name", [NASTY, "n" * 100_000, "日本" * 60])
@statement("It says " + NASTY + " and " + "d" * 100_000)
def test_refuted(checkpoint, name):
    values = [0.1, 0.2, 0.9]
    labels = [NASTY + "a", "b" * 100_000, "日本" * 60]
    assert_measurement(values, unit="share " + NASTY, name=name + " of mine", clusters=["a", "b", NASTY],
                       labels=labels, at_least=0.8)


@pytest.mark.parametrize("name", [NASTY, "n" * 100_000])
@statement("It says " + NASTY)
def test_supported(checkpoint, name):
    assert_measurement([0.5, 0.6, 0.7], unit="logits", name=name, clusters=["a", "b", NASTY], at_least=-9,
                       control=[0.5, 0.6, 0.7])


def test_refused(ioi):
    assert_accuracy(ioi, run=NASTY + "x" * 100_000, at_least=0.5)


def test_not_applicable(checkpoint):
    raise NotApplicable("because " + NASTY + "x" * 100_000)
"""


@pytest.fixture
def output(claims_project):
    claims_project.makepyfile(test_it=CLAIM.format(nasty=NASTY[:-1]))
    # The names of tests are pytest's to write; only what this plugin says of them is looked at.
    result = claims_project.runpytest("-v", "--color=no", "--interp-ledger", "records.json", "--snapshot-update")
    result.assert_outcomes(failed=4, passed=2, skipped=1)
    return result.outlines


def ours(lines):
    """The lines of the closing table, of the failures' texts and of the sections on claims."""
    table = lines[next(i for i, text in enumerate(lines) if " findings " in text) + 1 :]
    table = table[: next(i for i, text in enumerate(table) if text.startswith("="))]
    failures = [text.removeprefix("E").strip() for text in lines if text.startswith("E   ")]
    sections, inside = [], False
    for text in lines:
        if set(text) & set("-") and " claim call " in text:
            inside = True
        elif text.startswith(("_", "=", "-")):
            inside = False
        elif inside:
            sections.append(text)
    assert table
    assert failures
    assert sections
    return table, failures, sections


def test_a_claim_with_control_characters_and_a_hundred_thousand_characters(output, claims_project):
    table, failures, sections = ours(output)
    for text in output:
        assert not RAW.search(text), text[:200]
    for text in (*table, *sections):
        assert columns(text) <= 80, text[:200]
    sentences = ("UsageError", "a paper")
    for text in failures:
        assert len(text) < 2_100 if any(word in text for word in sentences) else columns(text) <= 80, text[:200]
    assert sum(len(text) for text in (*table, *failures, *sections)) < 40_000
    together = " ".join(table)
    assert "\\x1b[31m" in together
    assert "日本" in together
    assert "characters)" in together
    assert "\\x1b[31mred\\x07\\u202e" in " ".join(sections)
    # The file of records has every value in full.
    records = json.loads((claims_project.path / "records.json").read_text())
    assert any("n" * 100_000 in record["quantity"] for claim in records["claims"] for record in claim["records"])


def test_the_section_of_a_claim_and_the_table_of_noise():
    nasty = record(quantity=NASTY, context=NO_CONTEXT.noting(prompt="語" * 90, long="x" * 100_000))
    section = describe(NASTY + "d" * 100_000, "a source\n" + NASTY, [nasty])
    moved = Movement(
        NASTY + "c" * 90, "q" * 100_000, NASTY, by=0.1, margin=0.1, tolerance=0.01, outcome="refuted", floor=True
    )
    outcome = ClaimOutcome(RecordedClaim("id", f"test_it[{'語' * 100}]"), NASTY + "p" * 200, noise=(moved,))
    for text in (*section.splitlines(), *noise([outcome], verbose=True)):
        assert not RAW.search(text)
        assert columns(text) <= 80
    assert len(section) < 10_000
